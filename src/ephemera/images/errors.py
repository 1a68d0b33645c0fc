"""What can be wrong with an image.

Tree::

    ImageError [3]  (ephemera.contract.errors)
    ├── ImageBuildError      a step of its build failed; ``output`` holds the last lines
    └── ImageMissingError    it does not exist where it is looked for
"""

from __future__ import annotations

from collections.abc import Sequence

from ephemera.contract.errors import ImageError


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
