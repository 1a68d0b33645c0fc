"""What reference an image goes by. Pure: reads files, asks nobody."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from ephemera.contract.images import AnyImage, EngineImage, PublicImage, ServiceImage
from ephemera.images.context import context_hash, entries
from ephemera.images.errors import ImageMissingError
from ephemera.images.modes import Mode
from ephemera.images.recipes import BASE, pinned, recipe

CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
BASE_SUITE = "trixie"
_HASH_LENGTH = 16


def resolve(image: AnyImage, mode: Mode) -> str:
    """The reference of an image in that mode: an official one, or ``ephemera/<name>:<hash>`` for what is built.

    The hash is over everything that goes into the build; an image that can be neither pulled nor built in that mode
    raises :class:`ImageMissingError`.
    """
    if isinstance(image, PublicImage):
        return pinned(image.reference)
    if isinstance(image, EngineImage):
        found = recipe(image.name)
        if mode == "registry" and found.official is not None:
            return pinned(found.official)
        if image.name == BASE:
            return _base_reference()
    return _tag(as_built(image), mode)


def as_built(image: EngineImage | ServiceImage) -> ServiceImage:
    """The build behind an image: an engine's local recipe is built like a service."""
    if isinstance(image, ServiceImage):
        return image
    found = recipe(image.name)
    if found.folder is None:
        raise ImageMissingError(
            found.official or image.name,
            "there is no local recipe for it",
            "run on a machine that reaches its registry, with EPHEMERA_IMAGES=registry",
        )
    return ServiceImage(name=image.name, context=found.folder, bases=found.bases)


def base_folder() -> Path:
    """Folder of the base image's recipe."""
    folder = recipe(BASE).folder
    if folder is None:
        raise ImageMissingError(BASE, "it has no recipe", "restore it in images/engines.toml")
    return folder


def _tag(image: ServiceImage, mode: Mode) -> str:
    bases = {argument: resolve(base, mode) for argument, base in image.bases.items()}
    made_from = {
        "context": context_hash(entries(image.context, image.dockerfile)),
        "dockerfile": image.dockerfile,
        "target": image.target,
        "arguments": dict(image.arguments),
        "bases": bases,
    }
    return f"ephemera/{image.name}:{_hash(made_from)}"


def _base_reference() -> str:
    # The authorities that this machine trusts are part of the image: builds on top of it fail without them.
    bundle = hashlib.sha256(CA_BUNDLE.read_bytes()).hexdigest() if CA_BUNDLE.is_file() else ""
    script = hashlib.sha256((base_folder() / "rootfs.sh").read_bytes()).hexdigest()
    made_from = {"script": script, "suite": BASE_SUITE, "machine": os.uname().machine, "authorities": bundle}
    return f"ephemera/{BASE}:{_hash(made_from)}"


def _hash(made_from: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:_HASH_LENGTH]
