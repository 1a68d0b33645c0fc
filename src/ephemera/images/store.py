"""List the images that ephemera made, and drop those of this backend that no container uses."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ephemera.contract import labels
from ephemera.home import identity
from ephemera.host.engine import connected

if TYPE_CHECKING:
    import docker


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
    from docker.errors import APIError, ImageNotFound

    removed = []
    with connected() as client:
        unused = [image for image in _stored(client) if image.ours and not image.used_by]
        # An image with children cannot be removed: children first.
        for image in sorted(unused, key=lambda image: len(_layers(client, image.id)), reverse=True):
            try:
                client.api.remove_image(image.reference or image.id)
            except ImageNotFound:
                pass  # Docker removed it with its last child
            except APIError as error:
                if error.status_code != 409:
                    raise
                continue  # a container uses it by now, or a foreign image is made from it
            removed.append(image)
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
