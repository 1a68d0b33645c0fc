"""The engines' images: official reference and local recipe of each, from ``images/engines.toml``."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ephemera.contract.errors import UnknownNameError
from ephemera.contract.images import AnyImage, EngineImage, PublicImage, ServiceImage
from ephemera.images.registries import Mode
from ephemera.machine.data import data_dir

BASE = "base"
"""Name of the image that debootstrap makes; it is imported, not built from a Dockerfile."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One engine's image. ``folder``: local recipe. ``official``: reference in a registry, None without one. ``bases``:
    build arguments of the recipe's Dockerfile that hold the reference of another engine's image."""

    folder: Path
    official: str | None
    bases: Mapping[str, EngineImage]


def recipe(name: str) -> Recipe:
    """Return the recipe of that name; raise :class:`UnknownNameError` unless there is one."""
    if name not in recipes():
        raise UnknownNameError("engine image", name, recipes())
    return recipes()[name]


@cache
def recipes() -> Mapping[str, Recipe]:
    """Return every recipe, by name."""
    folder = data_dir("images")
    return {
        name: Recipe(
            folder=folder / name,
            official=entry.get("official"),
            bases={argument: EngineImage(base) for argument, base in entry.get("bases", {}).items()},
        )
        for name, entry in tomllib.loads((folder / "engines.toml").read_text()).items()
    }


def source(image: AnyImage, mode: Mode) -> str | ServiceImage:
    """Return where an image comes from in that mode: the reference to pull, or its build.

    An engine's local recipe is built like a service.
    """
    if isinstance(image, ServiceImage):
        return image
    if isinstance(image, PublicImage):
        return image.reference
    found = recipe(image.name)
    if mode == "registry" and found.official is not None:
        return found.official
    return ServiceImage(name=image.name, context=found.folder, bases=found.bases)
