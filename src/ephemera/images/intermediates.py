"""What an abandoned build leaves on the engine: containers of its steps, and the layers that it had come to."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ephemera.contract import labels
from ephemera.home import builds
from ephemera.home.builds import Abandoned
from ephemera.host.engine import connected, docker_host

if TYPE_CHECKING:
    import docker

_IDENTIFIER = re.compile(r"(sha256:)?[0-9a-f]{12,64}")
_METADATA = "#(nop)"
"""In the command of the containers that the classic builder makes, and never starts, for LABEL, ENV and the like."""
_TOLERATED = (404, 409)
"""Gone meanwhile; or in use, as the base of something that was made since."""
_SETTLE_SECONDS = 5.0
"""From the last layer that was found until there is none to come."""
_INTERVAL_SECONDS = 0.2


def drop_abandoned(settle_seconds: float = _SETTLE_SECONDS) -> list[str]:
    """Remove what killed or interrupted builds left, and return the ids of what was removed.

    Each record names image and backend: what carries other labels is another user's, and stays.

    The engine finishes the step that such a build was at, copying files for instance, and writes its layer after its
    client is gone; it tells nobody. So it is looked for until none has come for ``settle_seconds``. Should this process
    be killed meanwhile, the next one finds the build's record.
    """
    removed: list[str] = []
    if not builds.abandoned(docker_host()):
        return removed
    with connected() as client:
        settled = time.monotonic() + settle_seconds
        while found := builds.abandoned(docker_host()):
            if dropped := _drop(client, found):
                removed += dropped
                settled = time.monotonic() + settle_seconds
            elif time.monotonic() >= settled:
                for build in found:
                    builds.forget(build)
                break
            time.sleep(_INTERVAL_SECONDS)
    return removed


def _drop(client: docker.DockerClient, found: Collection[Abandoned]) -> list[str]:
    # Of several builds of an image, the oldest.
    by_age = sorted(found, key=lambda build: build.since, reverse=True)
    since = {(build.image, build.backend): build.since for build in by_age}
    removed = [
        item["Id"]
        for item in client.api.containers(all=True, filters={"label": [labels.IMAGE, labels.BACKEND]})
        if _is_of(item, since)
        and _is_of_step(client, item)
        and _removed(client.api.remove_container, item["Id"], force=True)
    ]
    # What a layer was made from goes with it.
    for item in client.api.images(filters={"label": [labels.IMAGE, labels.BACKEND], "dangling": True}):
        if _is_of(item, since) and _removed(client.api.remove_image, item["Id"]):
            removed.append(item["Id"])
    return removed


def _is_of(item: dict[str, Any], since: dict[tuple[str, str], int]) -> bool:
    marks = item["Labels"] or {}
    build = (marks.get(labels.IMAGE, ""), marks.get(labels.BACKEND, ""))
    return build in since and _created(item["Created"]) >= since[build]


def _is_of_step(client: docker.DockerClient, item: dict[str, Any]) -> bool:
    """Whether a build made it: containers that are started by hand from an image of ours inherit its labels, too."""
    from docker.errors import ImageNotFound

    if labels.STACK in item["Labels"] or not _IDENTIFIER.fullmatch(item["Image"]):
        return False
    if _METADATA in item["Command"]:
        return True
    try:
        return not client.api.inspect_image(item["ImageID"])["RepoTags"]
    except ImageNotFound:
        return True


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
