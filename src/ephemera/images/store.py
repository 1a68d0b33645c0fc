"""The images that ephemera made and the engine keeps: what is there, and dropping what nobody uses."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ephemera.contract import labels
from ephemera.host.engine import connected

if TYPE_CHECKING:
    import docker

_OURS = {"label": labels.IMAGE}


@dataclass(frozen=True, kw_only=True)
class StoredImage:
    """One image on the engine. ``reference``: None for an intermediate of a build. ``used_by``: names of containers,
    stopped ones too, that run it or an image made from it."""

    name: str
    reference: str | None
    id: str
    size_bytes: int
    used_by: tuple[str, ...]


def stored() -> list[StoredImage]:
    """Every image with our label, by reference; intermediates last."""
    with connected() as client:
        return sorted(_stored(client), key=lambda image: (image.reference is None, image.reference or image.id))


def prune() -> list[StoredImage]:
    """Remove every image with our label that no container uses, intermediates too; returns what was removed."""
    from docker.errors import APIError, ImageNotFound

    removed = []
    with connected() as client:
        layers = {image.id: _layers(client, image.id) for image in _stored(client)}
        unused = [image for image in _stored(client) if not image.used_by]
        # What was made from another goes before it: an image with children cannot be removed.
        for image in sorted(unused, key=lambda image: len(layers.get(image.id, ())), reverse=True):
            try:
                client.api.remove_image(image.reference or image.id)
            except ImageNotFound:
                pass  # went with its last child
            except APIError as error:
                if error.status_code != 409:
                    raise
                continue  # taken into use meanwhile, or a foreign image is made from it
            removed.append(image)
    return removed


def _stored(client: docker.DockerClient) -> Iterable[StoredImage]:
    used = _used_layers(client)
    for summary in client.api.images(filters=_OURS):
        own = _layers(client, summary["Id"])
        users = sorted({name for layers, name in used if layers[: len(own)] == own})
        references = [tag for tag in summary.get("RepoTags") or () if tag != "<none>:<none>"]
        for reference in references or [None]:
            yield StoredImage(
                name=summary["Labels"][labels.IMAGE],
                reference=reference,
                id=summary["Id"],
                size_bytes=summary["Size"],
                used_by=tuple(users),
            )


def _used_layers(client: docker.DockerClient) -> list[tuple[tuple[str, ...], str]]:
    """Layers of each container's image, with the container's name."""
    containers: list[dict[str, Any]] = client.api.containers(all=True)
    return [(_layers(client, each["ImageID"]), each["Names"][0].lstrip("/")) for each in containers]


def _layers(client: docker.DockerClient, image: str) -> tuple[str, ...]:
    from docker.errors import ImageNotFound

    try:
        return tuple(client.api.inspect_image(image)["RootFS"].get("Layers") or ())
    except ImageNotFound:
        return (image,)  # removed by force under a container; like no other
