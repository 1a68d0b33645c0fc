"""What a killed build leaves on the engine: containers of its steps, and the layers that it had come to."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ephemera.contract import labels
from ephemera.home.locks import LockTimeoutError, locked
from ephemera.home.paths import cache_dir

if TYPE_CHECKING:
    import docker

_IDENTIFIER = re.compile(r"(sha256:)?[0-9a-f]{12,64}")
_TOLERATED = (404, 409)
"""Gone meanwhile; or in use, as the base of something that somebody has made since."""


def drop_intermediates(client: docker.DockerClient, names: Collection[str], since: float) -> list[str]:
    """Remove what builds of the images ``names`` left since then (seconds since the epoch), and nobody builds on; ids.

    An image that somebody builds right now is left alone: its builder removes the containers of its steps itself, and
    its layers become those of a finished image.
    """
    abandoned = [name for name in names if not _is_being_built(name)]
    if not abandoned:
        return []
    removed = [
        item["Id"]
        for item in client.api.containers(all=True, filters={"label": labels.IMAGE})
        if _is_ours(item, abandoned, since)
        and labels.STACK not in item["Labels"]
        and _IDENTIFIER.fullmatch(item["Image"])  # a step's; who runs an image that is done does so by its name
        and _removed(client.api.remove_container, item["Id"], force=True)
    ]
    # What a layer was made from goes with it.
    for item in client.api.images(filters={"label": labels.IMAGE, "dangling": True}):
        if _is_ours(item, abandoned, since) and _removed(client.api.remove_image, item["Id"]):
            removed.append(item["Id"])
    return removed


def _is_being_built(name: str) -> bool:
    folder = cache_dir() / "locks"
    return any(_is_held(path) for path in folder.glob(f"image-*{name}:*.lock"))


def _is_held(path: Path) -> bool:
    try:
        with locked(path, timeout_seconds=0):
            path.unlink(missing_ok=True)  # of a builder that was killed
    except LockTimeoutError:
        return True
    return False


def _is_ours(item: dict[str, Any], names: Collection[str], since: float) -> bool:
    return (item["Labels"] or {}).get(labels.IMAGE) in names and _created(item["Created"]) >= since


def _created(value: int | str) -> float:
    """Lists give seconds, or a date."""
    return float(value) if isinstance(value, int) else datetime.fromisoformat(value).timestamp()


def _removed(remove: Callable[..., None], identifier: str, **options: bool) -> bool:
    from docker.errors import APIError

    try:
        remove(identifier, **options)
    except APIError as error:
        if error.status_code not in _TOLERATED:
            raise
        return False
    return True
