"""What can be wrong with an image.

Tree::

    ImageError [3]  (ephemera.contract.errors)
    ├── ImageBuildError      a step of its build failed; ``output`` holds the last lines
    └── ImageMissingError    it does not exist where it is looked for
    InputError [2]  (ephemera.contract.errors)
    └── ImageTakenError      its tag is on an image that ephemera did not make
"""

from __future__ import annotations

from collections.abc import Sequence

from ephemera.contract import labels
from ephemera.contract.errors import ImageError, InputError


class ImageBuildError(ImageError):
    """A step of an image's build failed. ``step``: the instruction; ``output``: the build's last lines, which tell
    what to do where no ``remedy`` does."""

    kind = "image_build"

    def __init__(self, name: str, step: str, cause: str, output: Sequence[str], remedy: str = "") -> None:
        super().__init__(
            f"image {name!r} cannot be built: {cause} (at {step})",
            remedy=remedy or "see its last lines",
            output=output,
        )
        self.step = step


class ImageMissingError(ImageError):
    """An image does not exist where it is looked for."""

    kind = "image_missing"

    def __init__(self, reference: str, cause: str, remedy: str) -> None:
        super().__init__(f"image {reference!r} is not to be had: {cause}", remedy=remedy)
        self.reference = reference


class ImageTakenError(InputError):
    """The tag that an image of ours is to have is on one that ephemera did not make; ``marked``: what that is labelled
    as."""

    kind = "image_taken"

    def __init__(self, reference: str, marked: str | None) -> None:
        told = f"its label {labels.IMAGE} is {marked!r}" if marked else f"it has no label {labels.IMAGE}"
        super().__init__(
            f"image tag {reference!r} is on an image that ephemera did not make ({told})",
            remedy=f"give that image another tag with `docker tag`, then `docker rmi {reference}`",
        )
        self.reference = reference
