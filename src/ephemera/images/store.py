"""List the images that ephemera made, and remove unused ones of this backend and what its abandoned builds left."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from ephemera.docker.connection import connected, docker_host
from ephemera.home import builds, identity
from ephemera.model import labels

if TYPE_CHECKING:
    import docker

_IDENTIFIER = re.compile(r"(sha256:)?[0-9a-f]{12,64}")
_METADATA = "#(nop)"
"""In the command of the containers that the classic builder makes, and never starts, for LABEL, ENV and the like."""
_SETTLE_SECONDS = 5.0
"""From the last layer that was found until no more is expected."""
_INTERVAL_SECONDS = 0.2


@dataclass(frozen=True, kw_only=True)
class StoredImage:
    """One image on the engine. ``reference``: None for an intermediate of a build. ``used_by``: names of containers,
    stopped ones too, that run it or an image made from it. ``ours``: whether this user's backend made it."""

    name: str
    reference: str | None
    id: str
    size_bytes: int
    used_by: tuple[str, ...]
    ours: bool


def stored() -> list[StoredImage]:
    """Return every image that ephemera made, other users' too, by reference; intermediates last."""
    with connected() as client:
        return sorted(_stored(client), key=lambda image: (image.reference is None, image.reference or image.id))


def prune() -> list[StoredImage]:
    """Remove every image that this backend made and no container uses, intermediates too; return what was removed."""
    with connected() as client:
        unused = [image for image in _stored(client) if image.ours and not image.used_by]
        # An image with children cannot be removed: children first.
        unused.sort(key=lambda image: len(_layers(client, image.id)), reverse=True)
        return [image for image in unused if _removed(client.api.remove_image, image.reference or image.id)]


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


def _stored(client: docker.DockerClient) -> Iterable[StoredImage]:
    containers = client.api.containers(all=True)
    used = [(_layers(client, each["ImageID"]), each["Names"][0].lstrip("/")) for each in containers]
    backend = identity.backend_id()
    for summary in client.api.images(filters={"label": labels.IMAGE}):
        name = summary["Labels"][labels.IMAGE]
        tags = [tag for tag in summary.get("RepoTags") or () if tag != "<none>:<none>"]
        # Labels are inherited: an image with other tags only was made from one of ours, or is kept under that name.
        references = [tag for tag in tags if tag.startswith(f"ephemera/{name}:")]
        if tags and not references:
            continue
        own = _layers(client, summary["Id"])
        users = sorted({user for layers, user in used if layers[: len(own)] == own})
        for reference in references or [None]:
            yield StoredImage(
                name=name,
                reference=reference,
                id=summary["Id"],
                size_bytes=summary["Size"],
                used_by=tuple(users),
                ours=summary["Labels"].get(labels.BACKEND) == backend,
            )


def _layers(client: docker.DockerClient, image: str) -> tuple[str, ...]:
    from docker.errors import ImageNotFound

    try:
        return tuple(client.api.inspect_image(image)["RootFS"].get("Layers") or ())
    except ImageNotFound:
        return (image,)  # removed by force under its container


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
    """Remove an image or a container and return whether it is gone; False for one that is used, also by a child."""
    from docker.errors import APIError

    try:
        remove(identifier, **options)
    except APIError as error:
        if error.status_code not in (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT):
            raise
        return bool(error.status_code == HTTPStatus.NOT_FOUND)  # Docker removed it with its last child
    return True
