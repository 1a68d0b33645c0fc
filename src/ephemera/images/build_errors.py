"""Errors of images, and the explanation of a full disk.

Tree::

    ImageError [3]  (ephemera.model.errors)
    ├── ImageBuildError      a step of its build failed; ``output`` holds the last lines
    └── ImageMissingError    it cannot be pulled
    InputError [2]  (ephemera.model.errors)
    └── ImageTakenError      another image, which ephemera did not make, has its tag
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ephemera.docker.address import configured
from ephemera.model import labels
from ephemera.model.errors import ImageError, InputError

if TYPE_CHECKING:
    import docker

_NO_SPACE = os.strerror(errno.ENOSPC).lower()


class ImageBuildError(ImageError):
    """A step of an image's build failed. ``step``: the instruction; ``output``: the build's last lines, which are the
    remedy where none is known."""

    kind = "image_build"

    def __init__(self, name: str, step: str, cause: str, remedy: str = "", output: Sequence[str] = ()) -> None:
        super().__init__(
            f"image {name!r} cannot be built: {cause} (at {step})",
            remedy=remedy or "see its last lines",
            output=output,
        )
        self.step = step


class ImageMissingError(ImageError):
    """An image cannot be pulled."""

    kind = "image_missing"

    def __init__(self, reference: str, cause: str, remedy: str) -> None:
        super().__init__(f"image {reference!r} is not available: {cause}", remedy=remedy)


class ImageTakenError(InputError):
    """An image that ephemera did not make has the tag of one of ours. ``marked``: the name on its label, if any."""

    kind = "image_taken"

    def __init__(self, reference: str, marked: str | None) -> None:
        told = f"its label {labels.IMAGE} is {marked!r}" if marked else f"it has no label {labels.IMAGE}"
        super().__init__(
            f"image tag {reference!r} is on an image that ephemera did not make ({told})",
            remedy=f"give that image another tag with `docker tag`, then `docker rmi {reference}`",
        )


def explained(client: docker.DockerClient, cause: str, remedy: str = "", output: Sequence[str] = ()) -> tuple[str, str]:
    """Return cause and remedy of a failure; those of a full disk if the cause or the output comes from one."""
    if not any(_NO_SPACE in line.lower() for line in (cause, *output)):
        return cause, remedy
    hostname = configured().hostname
    folder = client.info().get("DockerRootDir", "its data root")
    return (
        f"the disk of the Docker engine is full ({folder}{f' on {hostname}' if hostname else ''})",
        "make room there: `ephemera images prune` drops unused images, `docker system df` shows what takes the space",
    )
