"""The reference of an image, from what it is made of. Reads files, asks no engine and no registry."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from ephemera.contract.images import AnyImage, EngineImage, ServiceImage
from ephemera.images.context import context_hash
from ephemera.images.locking import pinned
from ephemera.images.recipes import BASE, source
from ephemera.images.registries import Mode
from ephemera.machine.data import data_dir

CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
BASE_SUITE = "trixie"
_HASH_LENGTH = 16


def resolve(image: AnyImage, mode: Mode) -> str:
    """Return the reference of an image: ``ephemera/<name>:<hash>`` for one that is built, else what it is pulled by.

    The hash is over everything that goes into the build.
    """
    found = source(image, mode)
    if isinstance(found, str):
        return pinned(found)
    if image == EngineImage(BASE):
        return _base_reference()
    bases = {argument: resolve(base, mode) for argument, base in found.bases.items()}
    return tag(found, context_hash(found.context, found.dockerfile), bases)


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
    script = hashlib.sha256((data_dir("images") / BASE / "rootfs.sh").read_bytes()).hexdigest()
    machine = os.uname().machine
    return _tag(BASE, {"script": script, "suite": BASE_SUITE, "machine": machine, "authorities": bundle})


def _tag(name: str, made_from: Mapping[str, object]) -> str:
    digest = hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()
    return f"ephemera/{name}:{digest[:_HASH_LENGTH]}"
