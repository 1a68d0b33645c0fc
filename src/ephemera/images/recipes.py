"""Where an image comes from: a registry, or a build. The engines' images are in ``images/engines.toml``."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from typing import Any

from ephemera.contract.errors import UnknownNameError
from ephemera.contract.images import AnyImage, EngineImage, PublicImage, ServiceImage
from ephemera.images.registries import Mode
from ephemera.machine.data import data_dir

BASE = "base"
"""Name of the image that debootstrap makes; it is imported, not built from a Dockerfile."""


def source(image: AnyImage, mode: Mode) -> str | ServiceImage:
    """Return the reference that an image is pulled by in that mode, or its build: an engine's recipe is one, too.

    Raise :class:`UnknownNameError` for an engine without a recipe.
    """
    if isinstance(image, ServiceImage):
        return image
    if isinstance(image, PublicImage):
        return image.reference
    if image.name not in recipes():
        raise UnknownNameError("engine image", image.name, recipes())
    entry = recipes()[image.name]
    if mode == "registry" and "official" in entry:
        return str(entry["official"])
    bases = {argument: EngineImage(base) for argument, base in entry.get("bases", {}).items()}
    return ServiceImage(name=image.name, context=data_dir("images") / image.name, bases=bases)


@cache
def recipes() -> Mapping[str, Mapping[str, Any]]:
    """Return the entry of every recipe, by name."""
    return tomllib.loads((data_dir("images") / "engines.toml").read_text())
