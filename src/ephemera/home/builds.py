"""Builds of images: each by one process at a time, with a record by which an abandoned one is found.

A builder that is killed or interrupted leaves its record behind: Docker finishes the step that it was at, without an
event at its end.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ephemera.home import identity
from ephemera.home.locks import LockTimeoutError, locked
from ephemera.home.paths import cache_dir
from ephemera.host.files import text_of
from ephemera.model.errors import ImageError


@dataclass(frozen=True)
class Abandoned:
    """A build whose builder is gone. ``backend``: the one in the labels of what it left. ``since``: when it began, in
    whole seconds since the epoch."""

    record: Path
    image: str
    backend: str
    since: int


@contextmanager
def exclusive(reference: str) -> Iterator[Callable[[str, str], None]]:
    """Hold the lock of an image while it is made. Yield a function that records the begin of a build, given the image's
    name and the engine's address.

    The record goes when the build ends, also by an error: the next try goes on from the last good step.
    """
    path = _folder() / f"image-{reference.replace('/', '_')}.lock"

    def begins(image: str, engine: str) -> None:
        begun = {"image": image, "engine": engine, "backend": identity.backend_id()}
        before = _read(path) or {}
        # The time of one that was abandoned before; what another backend left is for that one to prune.
        same = begun.items() <= before.items()
        path.write_text(json.dumps({**begun, "since": before["since"] if same else int(time.time())}))

    with locked(path):
        try:
            yield begins
        except ImageError:
            path.unlink()
            raise
        except BaseException:
            if _read(path) is None:
                path.unlink()
            raise
        path.unlink()  # every edit of a source is a tag of its own, and would leave a file behind


def abandoned(engine: str) -> list[Abandoned]:
    """Return builds on that engine whose builder is gone, unless an image of that name is being built."""
    found = []
    being_built = set()
    for path in _folder().glob("image-*.lock"):
        try:
            with locked(path, timeout_seconds=0):
                build = _read(path)
                if build is None:
                    path.unlink()  # its builder was killed before it began
                elif build["engine"] == engine:
                    found.append(Abandoned(path, build["image"], build["backend"], build["since"]))
        except LockTimeoutError:
            being_built.add(_without_tag(path))
    return [build for build in found if _without_tag(build.record) not in being_built]


def forget(build: Abandoned) -> None:
    """Drop the record, unless the image is being built again."""
    with suppress(LockTimeoutError), locked(build.record, timeout_seconds=0):
        build.record.unlink()


def _folder() -> Path:
    return cache_dir() / "locks"


def _without_tag(record: Path) -> str:
    return record.name.rpartition(":")[0]


def _read(path: Path) -> dict[str, Any] | None:
    try:
        build = json.loads(text_of(path))
    except (ValueError, OSError):
        return None
    return build if isinstance(build, dict) and {"image", "engine", "backend", "since"} <= build.keys() else None
