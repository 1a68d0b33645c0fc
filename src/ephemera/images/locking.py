"""Writes ``images.lock``: the digest that each official or public reference has in its registry right now."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ephemera.contract.images import AnyImage, EngineImage, PublicImage
from ephemera.home.documents import write_whole
from ephemera.host.engine import connected
from ephemera.images.errors import ImageMissingError
from ephemera.images.recipes import LOCK, recipe, recipes
from ephemera.images.registries import authorized
from ephemera.machine.artifacts import data_dir

if TYPE_CHECKING:
    import docker


def lock(report: Callable[[str], None]) -> Path:
    """Write the file of the engines' recipes; it stays as it was where a registry does not answer."""
    official = (each.official for each in recipes().values() if each.official)
    return _write(data_dir("images") / LOCK, "python -m ephemera.images", official, report)


def lock_project(project: Path, images: Iterable[AnyImage], report: Callable[[str], None]) -> Path:
    """Write a project's file, for what of ``images`` and of their bases is pulled; it stays as it was where a registry
    does not answer."""
    return _write(project / LOCK, "ephemera images lock", _pulled(images), report)


def _pulled(images: Iterable[AnyImage]) -> Iterator[str]:
    for image in images:
        if isinstance(image, PublicImage):
            yield image.reference
        elif isinstance(image, EngineImage):
            if official := recipe(image.name).official:
                yield official
        else:
            yield from _pulled(image.bases.values())


def _digest(client: docker.DockerClient, reference: str) -> str:
    found = authorized(client, lambda credentials: client.api.inspect_distribution(reference, credentials))
    return str(found["Descriptor"]["digest"])


def _write(path: Path, command: str, references: Iterable[str], report: Callable[[str], None]) -> Path:
    from docker.errors import APIError

    lines = [f"# Written by `{command}`: the digest of each image that is pulled."]
    with connected() as client:
        for reference in sorted({each for each in references if "@" not in each}):
            report(reference)
            try:
                digest = _digest(client, reference)
            except APIError as error:
                raise ImageMissingError(
                    reference, error.explanation or str(error), "run this where the registry answers"
                ) from error
            lines.append(f'"{reference}" = "{digest}"')
    write_whole(path, "\n".join(lines) + "\n", mode=0o666)
    return path
