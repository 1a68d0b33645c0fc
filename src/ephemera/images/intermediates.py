"""What an abandoned build leaves on the engine: containers of its steps, and the layers that it had come to."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ephemera.contract import labels
from ephemera.home import builds
from ephemera.host.engine import connected, docker_host

if TYPE_CHECKING:
    import docker

_IDENTIFIER = re.compile(r"(sha256:)?[0-9a-f]{12,64}")
_METADATA = "#(nop)"
"""In the command of the containers that the classic builder makes, and never starts, for LABEL, ENV and the like."""
_TOLERATED = (404, 409)
"""Already gone; or in use, as the base of an image that was made since."""
_SETTLE_SECONDS = 5.0
"""From the last layer that was found until no more is expected."""
_INTERVAL_SECONDS = 0.2


def drop_abandoned(settle_seconds: float = _SETTLE_SECONDS) -> list[str]:
    """Remove what killed or interrupted builds left, and return the ids of what was removed.

    Each record names image and backend: what carries other labels is another user's, and stays.

    The engine finishes the step that such a build was at, copying files for instance, and writes its layer after its
    client is gone, without notice. So this looks again until it has found nothing for ``settle_seconds``. If this
    process is killed meanwhile, the next one finds the build's record.
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


def _drop(client: docker.DockerClient, found: Iterable[builds.Abandoned]) -> list[str]:
    since: dict[tuple[str, str], int] = {}
    for build in found:
        key = (build.image, build.backend)
        since[key] = min(build.since, since.get(key, build.since))
    marked = [labels.IMAGE, labels.BACKEND]

    def made(items: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for item in items:
            build = (item["Labels"][labels.IMAGE], item["Labels"][labels.BACKEND])
            if build in since and item["Created"] >= since[build]:
                yield item

    containers = made(client.api.containers(all=True, filters={"label": marked}))
    steps = [item["Id"] for item in containers if _is_step(client, item)]
    removed = [step for step in steps if _removed(client.api.remove_container, step, force=True)]
    # A layer is removed with its last child.
    layers = made(client.api.images(filters={"label": marked, "dangling": True}))
    return removed + [layer["Id"] for layer in layers if _removed(client.api.remove_image, layer["Id"])]


def _is_step(client: docker.DockerClient, container: dict[str, Any]) -> bool:
    """Return whether a build made a container: one that is run by hand from an image of ours has its labels, too."""
    from docker.errors import ImageNotFound

    if labels.STACK in container["Labels"] or not _IDENTIFIER.fullmatch(container["Image"]):
        return False
    if _METADATA in container["Command"]:
        return True
    try:
        return not client.api.inspect_image(container["ImageID"])["RepoTags"]
    except ImageNotFound:
        return True


def _removed(remove: Callable[..., None], identifier: str, **options: bool) -> bool:
    from docker.errors import APIError

    try:
        remove(identifier, **options)
    except APIError as error:
        if error.status_code not in _TOLERATED:
            raise
        return False
    return True
