"""Where an image comes from, a registry or a build, and its reference. Reads files, asks no engine and no registry.

The engines' images are in ``images/engines.toml``.
"""

from __future__ import annotations

import hashlib
import json
import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ephemera.images.context import context_hash
from ephemera.images.locking import pinned
from ephemera.images.registries import Mode
from ephemera.model.errors import UnknownNameError
from ephemera.model.images import AnyImage, EngineImage, PublicImage, ServiceImage
from ephemera.setup.artifacts import data_dir

BASE = EngineImage("base")
"""The image that debootstrap makes; it is imported, not built from a Dockerfile."""
BASE_SUITE = "trixie"
CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
_HASH_LENGTH = 16


def resolve(image: AnyImage, mode: Mode) -> str:
    """Return the reference of an image: ``ephemera/<name>:<hash>`` for one that is built, else what it is pulled by.

    The hash is over everything that goes into the build.
    """
    found = source(image, mode)
    if isinstance(found, str):
        return pinned(found)
    if image == BASE:
        return _base_reference()
    bases = {argument: resolve(base, mode) for argument, base in found.bases.items()}
    return tag(found, context_hash(found.context, found.dockerfile), bases)


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


def pulled(images: Iterable[AnyImage]) -> Iterator[str]:
    """Yield the reference of each image that is pulled where a registry answers, bases of builds too."""
    for image in images:
        found = source(image, "registry")
        if isinstance(found, str):
            yield found
        else:
            yield from pulled(found.bases.values())


@cache
def recipes() -> Mapping[str, Mapping[str, Any]]:
    """Return the entry of every engine's image, by name."""
    return tomllib.loads((data_dir("images") / "engines.toml").read_text())


def tag(image: ServiceImage, context: str, bases: Mapping[str, str]) -> str:
    """Return the reference of a build, by the hash of its context and the references of its bases."""
    return _tag(
        image.name,
        {
            "context": context,
            "dockerfile": image.dockerfile,
            "target": image.target,
            "arguments": dict(image.arguments),
            "bases": dict(bases),
        },
    )


def _base_reference() -> str:
    # The machine's certificate authorities are part of the image: builds on top of it fail without them.
    bundle = hashlib.sha256(CA_BUNDLE.read_bytes()).hexdigest() if CA_BUNDLE.is_file() else ""
    script = hashlib.sha256((data_dir("images") / BASE.name / "rootfs.sh").read_bytes()).hexdigest()
    machine = os.uname().machine
    return _tag(BASE.name, {"script": script, "suite": BASE_SUITE, "machine": machine, "authorities": bundle})


def _tag(name: str, made_from: Mapping[str, object]) -> str:
    digest = hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()
    return f"ephemera/{name}:{digest[:_HASH_LENGTH]}"
