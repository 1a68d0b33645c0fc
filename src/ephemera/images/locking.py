"""``images.lock``, beside a project's ``Pulumi.yaml``: the digest of each image that the project pulls."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from ephemera.docker.connection import connected
from ephemera.home.documents import write_whole
from ephemera.host import surroundings
from ephemera.images.build_errors import ImageMissingError
from ephemera.images.registries import credentials
from ephemera.model.declared import nearest_project
from ephemera.model.errors import InputError

_NAME = "images.lock"


def pinned(reference: str) -> str:
    """Return ``postgres@sha256:…`` for ``postgres:16-alpine`` if the lock file of the project in the working directory
    has its digest, else the reference itself. Raise :class:`InputError` for a damaged file."""
    project = nearest_project(surroundings.folder())
    digest = _read(project / _NAME).get(reference) if project else None
    if digest is None:
        return reference
    repository, colon, tag = reference.rpartition(":")
    return f"{repository if colon and '/' not in tag else reference}@{digest}"


def lock_project(project: Path, references: Iterable[str], report: Callable[[str], None]) -> Path:
    """Write a project's lock file for the images that it pulls, and return its path.

    Raise :class:`ImageMissingError` if a registry does not answer: the file stays as it was.
    """
    from docker.errors import APIError

    lines = ["# Written by `ephemera images lock`: the digest of each image that is pulled."]
    with connected() as client:
        for reference in sorted({each for each in references if "@" not in each}):
            report(reference)
            given, _ = credentials(reference)
            try:
                found = client.api.inspect_distribution(reference, given)
            except APIError as error:
                raise ImageMissingError(
                    reference, error.explanation or str(error), "run this where the registry answers"
                ) from error
            lines.append(f'"{reference}" = "{found["Descriptor"]["digest"]}"')
    path = project / _NAME
    write_whole(path, "\n".join(lines) + "\n", mode=0o666)
    return path


def _read(path: Path) -> Mapping[str, str]:
    remedy = "write it again with `ephemera images lock`"
    try:
        found = tomllib.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error})", remedy=remedy) from error
    for reference, digest in found.items():
        if not (isinstance(digest, str) and re.fullmatch(r"sha256:[0-9a-z]+", digest)):
            raise InputError(f"{path}: {digest!r} of {reference!r} is not a digest", remedy=remedy)
    return found
