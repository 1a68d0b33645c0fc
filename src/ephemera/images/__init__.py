"""Images: the reference that each has on this machine, how it gets there, and how it is dropped when it is not used.

An official image is pulled where a registry answers and built from a local recipe where none does; an image of the
project is built from its sources, under the hash of everything it is made from. Nothing changed: nothing built.
"""

from ephemera.images.errors import ImageBuildError, ImageMissingError, ImageTakenError
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
