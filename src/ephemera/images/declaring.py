"""How a project declares an image that is built from its sources."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path

from ephemera.images.context import read_dockerfile
from ephemera.images.dockerfiles import declared_arguments
from ephemera.images.references import recipes
from ephemera.model import declared
from ephemera.model.images import EngineImage, ServiceImage

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
    ``Pulumi.yaml``; ``.dockerignore`` in it is honoured. ``target``: stage to stop at, by default the last one.
    ``dockerfile``: relative to ``folder``. ``name``: of the image in lists and tags, by default folder and target.
    ``arguments``: plain build arguments, never a secret: they are readable in the image's history. ``bases``: build
    arguments that are given the reference of another image, which is made first. An ``ARG PYTHON_IMAGE`` in the
    Dockerfile is given ``EngineImage("python")`` by default, and so on for each engine.

    Raise :class:`InputError` for a folder or a Dockerfile that is not there.
    """
    declared.expect("folder of a Build", folder, (str, Path), "a folder of the project")
    project = declared.project_of(Path(sys._getframe(1).f_code.co_filename))
    context = (project / folder).resolve()
    given = arguments or {}
    missing = declared_arguments(read_dockerfile(context, dockerfile)) - given.keys()
    engines = {f"{name.upper().replace('-', '_')}_IMAGE": EngineImage(name) for name in recipes()}
    return ServiceImage(
        name=name or _name(project, context, target),
        context=context,
        dockerfile=dockerfile,
        target=target,
        arguments=given,
        bases={argument: engines[argument] for argument in missing & engines.keys()} | dict(bases or {}),
    )


def _name(project: Path, context: Path, target: str | None) -> str:
    parts = list(context.relative_to(project).parts) if context.is_relative_to(project) else [context.name]
    if parts and parts[0] in _COMMON:
        del parts[0]
    words = [*(parts or [project.name]), *([target] if target and target not in parts else [])]
    name = _ODD.sub("-", "-".join(words).lower()).strip("-")
    return f"{name}-image" if name in recipes() else name
