"""The engines' images: official reference, digest and local recipe of each, from ``images/engines.toml``."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType

from ephemera.contract.errors import InputError, UnknownNameError
from ephemera.contract.images import EngineImage
from ephemera.host import surroundings
from ephemera.machine.artifacts import data_dir

LOCK = "images.lock"
_WRITE_AGAIN = "write it again with `ephemera images lock`"
BASE = "base"
"""Name of the image that is made of packages alone; it is imported, not built from a Dockerfile."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One engine's image.

    ``official``: reference in a registry, None when there is none. ``folder``: the local recipe's, None when there is
    none. ``bases``: build arguments of the recipe's Dockerfile that hold the reference of another engine's image.
    """

    name: str
    official: str | None = None
    folder: Path | None = None
    bases: Mapping[str, EngineImage] = field(default_factory=lambda: MappingProxyType({}))


def recipe(name: str) -> Recipe:
    """The recipe of that name; raises :class:`UnknownNameError`."""
    known = recipes()
    if name not in known:
        raise UnknownNameError("engine image", name, known)
    return known[name]


@cache
def recipes() -> Mapping[str, Recipe]:
    """Every recipe, by name."""
    path = data_dir("images") / "engines.toml"
    found = {}
    for name, entry in tomllib.loads(path.read_text()).items():
        unknown = set(entry) - {"official", "recipe", "bases"}
        if unknown:
            raise InputError(
                f"{path}: [{name}] has unknown keys {sorted(unknown)}", remedy="use official, recipe, bases"
            )
        folder = data_dir("images") / entry["recipe"] if "recipe" in entry else None
        if folder is not None and not folder.is_dir():
            raise InputError(f"{path}: recipe of [{name}] is no folder", remedy=f"make {folder} or drop the key")
        bases = {argument: EngineImage(name=base) for argument, base in entry.get("bases", {}).items()}
        found[name] = Recipe(name=name, official=entry.get("official"), folder=folder, bases=bases)
    return found


@cache
def digests() -> Mapping[str, str]:
    """Digest by official reference, from ``images/images.lock``; empty where it has not been written yet."""
    return _read(data_dir("images") / LOCK)


def pinned(reference: str) -> str:
    """Return the reference by digest where one is known: ``postgres@sha256:…`` for ``postgres:16-alpine``.

    The project's own ``images.lock``, beside the ``Pulumi.yaml`` from the working directory upwards, comes first.
    """
    digest = _of_project().get(reference) or digests().get(reference)
    if digest is None:
        return reference
    repository, colon, tag = reference.rpartition(":")
    return f"{repository if colon and '/' not in tag else reference}@{digest}"


def _of_project() -> Mapping[str, str]:
    here = surroundings.folder()
    project = next((folder for folder in (here, *here.parents) if (folder / "Pulumi.yaml").is_file()), None)
    return {} if project is None else _read(project / LOCK)


def _read(path: Path) -> Mapping[str, str]:
    try:
        found = tomllib.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error})", remedy=_WRITE_AGAIN) from error
    for reference, digest in found.items():
        if not (isinstance(digest, str) and re.fullmatch(r"sha256:[0-9a-z]+", digest)):
            raise InputError(f"{path}: {digest!r} of {reference!r} is no digest", remedy=_WRITE_AGAIN)
    return found
