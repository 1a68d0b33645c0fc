"""Images: their references on this machine, how they are pulled or built, and how unused ones are removed.

An official image is pulled where a registry answers and built from a local recipe where none does. An image of the
project is built from its sources, and tagged with the hash of everything it is made from: no change, no build.
"""

from ephemera.images.build_errors import ImageBuildError, ImageMissingError, ImageTakenError
from ephemera.images.locking import lock_project
from ephemera.images.making import ensure
from ephemera.images.references import pulled, resolve
from ephemera.images.registries import Mode, mode
from ephemera.images.store import StoredImage, drop_abandoned, prune, stored

__all__ = [
    "ImageBuildError",
    "ImageMissingError",
    "ImageTakenError",
    "Mode",
    "StoredImage",
    "drop_abandoned",
    "ensure",
    "lock_project",
    "mode",
    "prune",
    "pulled",
    "resolve",
    "stored",
]
