"""What an image is made from, as plain data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

# An id, or [host[:port]/]path[:tag][@digest] (distribution/reference).
_PATH = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    r"sha256:[0-9a-f]{64}|"
    rf"(?:(?:[a-zA-Z0-9.-]+|\[[0-9a-fA-F:]+\])(?::\d+)?/)?{_PATH}(?:/{_PATH})*"
    r"(?::\w[\w.-]{0,127})?(?:@[a-zA-Z][a-zA-Z0-9+._-]*:[0-9a-fA-F]{32,})?",
    re.ASCII,
)


@dataclass(frozen=True, kw_only=True)
class EngineImage:
    """One of our images, such as a database: the official one if a registry answers, else built locally.

    ``name``: its folder under ``images/``, and its key in ``images/engines.toml`` (``python``, ``postgres``).
    """

    name: str = field(kw_only=False)


@dataclass(frozen=True, kw_only=True)
class ServiceImage:
    """An image of the project, built from its sources. Its tag is the hash of everything it is made from.

    ``name``: repository part of the tag, ``tasker-worker``.
    ``context``: absolute build context; ``.dockerignore`` in it is honoured.
    ``dockerfile``: relative to the context. ``target``: stage to stop at, the last one when None.
    ``arguments``: plain build arguments, never a secret: they are readable in the image's history.
    ``bases``: build arguments whose value is the reference of another image, which is built or pulled first.
    """

    name: str
    context: Path
    dockerfile: str = "Dockerfile"
    target: str | None = None
    arguments: Mapping[str, str] = field(default_factory=dict, hash=False)
    bases: Mapping[str, EngineImage | ServiceImage] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, kw_only=True)
class PublicImage:
    """A published image, by its reference (``nats:2``); pulled if Docker does not have it."""

    reference: str


AnyImage = EngineImage | ServiceImage | PublicImage


def is_root(user: str) -> bool:
    """Return whether a user (``name``, ``uid``, ``uid:gid``) is root; an empty one is."""
    name = user.strip().partition(":")[0]
    return name in ("", "root") or (name.isascii() and name.isdecimal() and int(name) == 0)


def is_reference(text: str) -> bool:
    """Return whether ``text`` is an image's id, or a repository with an optional tag and digest."""
    return _REFERENCE.fullmatch(text) is not None
