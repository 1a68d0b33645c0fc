"""How a project declares an image that is built from its sources."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path

from ephemera.contract import declared
from ephemera.contract.errors import InputError
from ephemera.contract.images import EngineImage, ServiceImage
from ephemera.images.recipes import recipes

_BASE = re.compile(r"^\s*ARG\s+([A-Z][A-Z0-9_]*)_IMAGE\b", re.MULTILINE)
_COMMON = ("services", "images")
_ODD = re.compile(r"[^a-z0-9]+")


def Build(
    folder: str | Path,
    *,
    target: str | None = None,
    dockerfile: str = "Dockerfile",
    name: str = "",
    arguments: Mapping[str, str] | None = None,
    bases: Mapping[str, EngineImage | ServiceImage] | None = None,
) -> ServiceImage:
    """Return the image that a folder's Dockerfile builds. Its tag is the hash of everything it is made from.

    ``folder``: build context, relative to the project of the calling module, the nearest folder above it that has a
    ``Pulumi.yaml``; ``.dockerignore`` in it is honoured. ``target``: stage to stop
    at, the last one unless given. ``dockerfile``: relative to ``folder``. ``name``: of the image in lists and tags;
    made from folder and target. ``arguments``: plain build arguments, never a secret: they are readable in the image's
    history. ``bases``: build arguments that are given the reference of another image, which is there by then. An
    ``ARG PYTHON_IMAGE`` in the Dockerfile is given ``EngineImage("python")`` by itself, and so on for each of ours.

    Raises :class:`InputError` for a folder or a Dockerfile that is not there.
    """
    declared.expect("folder of a Build", folder, (str, Path), "a folder of the project")
    project = declared.project_of(Path(sys._getframe(1).f_code.co_filename))
    context = (project / folder).resolve()
    try:
        text = (context / dockerfile).read_text(errors="replace")
    except OSError as error:
        raise InputError(
            f"{context / dockerfile} cannot be read ({error.strerror})",
            remedy="Build takes a folder with a Dockerfile, relative to the project",
        ) from error
    ours = {f"{found}_IMAGE": found.lower().replace("_", "-") for found in _BASE.findall(text)}
    given = arguments or {}
    known = {
        argument: EngineImage(engine)
        for argument, engine in ours.items()
        if argument not in given and engine in recipes()
    }
    return ServiceImage(
        name=name or _name(project, context, target),
        context=context,
        dockerfile=dockerfile,
        target=target,
        arguments=given,
        bases={**known, **(bases or {})},
    )


def _name(project: Path, context: Path, target: str | None) -> str:
    parts = list(context.relative_to(project).parts) if context.is_relative_to(project) else [context.name]
    if parts and parts[0] in _COMMON:
        del parts[0]
    words = [*(parts or [project.name]), *([target] if target and target not in parts else [])]
    name = _ODD.sub("-", "-".join(words).lower()).strip("-")
    return f"{name}-image" if name in recipes() else name
