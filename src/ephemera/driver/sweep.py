"""What the engine holds of a stack, by label: listed as proof, removed when it should not be there.

Only objects with this backend's label are ever touched: other users' and other tools' are foreign.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from docker import DockerClient
from docker.errors import APIError, NotFound

from ephemera.contract import labels
from ephemera.contract.errors import EngineError
from ephemera.home import identity
from ephemera.host import clock

_DEADLINE_SECONDS = 20.0


@dataclass(frozen=True, kw_only=True)
class Found:
    """An object of the engine: ``container``, ``network`` or ``volume``, its name and the stack it belongs to.
    ``identifier``: what tells it from others of its name, which networks may share."""

    kind: str
    name: str
    stack: str
    identifier: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def filters_of(stack: str | None = None, backend: str | None = None) -> dict[str, list[str]]:
    """What the engine's lists are asked with for the objects of ``stack`` (of all) that are recorded in ``backend``
    (this user's)."""
    # Any stack, but one: what runs an image of ours by hand has its backend's label from it.
    of_stack = labels.STACK if stack is None else f"{labels.STACK}={stack}"
    return {"label": [f"{labels.BACKEND}={backend or identity.backend_id()}", of_stack]}


def find(client: DockerClient, stack: str | None = None, backend: str | None = None) -> list[Found]:
    """Everything of ``stack`` (of all stacks when None) that is recorded in ``backend`` (this user's when None)."""
    filters = filters_of(stack, backend)
    found = [
        Found(kind="container", name=item["Names"][0].lstrip("/"), stack=item["Labels"].get(labels.STACK, ""))
        for item in client.api.containers(all=True, filters=filters)
        if item["Names"]
    ]
    found += [
        Found(kind="volume", name=item["Name"], stack=(item["Labels"] or {}).get(labels.STACK, ""))
        for item in client.api.volumes(filters=filters)["Volumes"] or ()
    ]
    found += [
        Found(
            kind="network",
            name=item["Name"],
            stack=(item["Labels"] or {}).get(labels.STACK, ""),
            identifier=item["Id"],
        )
        for item in client.api.networks(filters=filters)
    ]
    return found


def identity_of(client: DockerClient, stack: str) -> labels.Identity:
    """Whose the stack is, by the labels of its objects; empty when there are none."""
    filters = filters_of(stack)
    found = [*client.api.networks(filters=filters), *client.api.containers(all=True, filters=filters)]
    return labels.Identity.of(found[0]["Labels"] if found else {labels.STACK: stack})


def remove(client: DockerClient, stack: str, backend: str | None = None, *, settle_seconds: float = 0.0) -> list[Found]:
    """Remove all that is there of ``stack``, until two passes in a row find nothing; what was found, each once.

    ``settle_seconds``: between those two passes, when the engine was killed and may have asked for more.

    Raises :class:`EngineError` when something is still there after 20 s.
    """
    seen: dict[Found, None] = {}
    deadline = clock.monotonic() + _DEADLINE_SECONDS
    empty_passes = 0
    while empty_passes < 2:
        found = find(client, stack, backend)
        if not found:
            empty_passes += 1
            if empty_passes == 1:
                time.sleep(settle_seconds)
            continue
        empty_passes = 0
        seen.update(dict.fromkeys(found))
        if clock.monotonic() > deadline:
            listed = ", ".join(str(item) for item in found)
            raise EngineError(
                f"{listed} of {stack} cannot be removed",
                remedy="see what holds them with `docker inspect`, then try again",
            )
        _remove_all(client, [item for item in found if item.kind == "container"])
        _remove_all(client, [item for item in found if item.kind != "container"])  # which containers held until now
    return list(seen)


def remove_runners(client: DockerClient, stack: str) -> None:
    """End suites that run in the network of ``stack``: it is taken down under them, and they are no leftovers of it."""
    filters = filters_of(stack)
    filters["label"].append(labels.RUNNER)
    for item in client.api.containers(all=True, filters=filters):
        remove_one(client, "container", item["Id"])


def remove_one(client: DockerClient, kind: str, name: str) -> None:
    """Remove one object by name or id, if it is there and nothing is in the way of that for now."""
    try:
        if kind == "container":
            client.api.remove_container(name, v=True, force=True)
        elif kind == "volume":
            client.api.remove_volume(name, force=True)
        else:
            client.api.remove_network(name)
    except NotFound:
        return
    except APIError as error:
        # A removal in progress, or an endpoint that is just leaving (403 up to Docker 20.10): the next pass sees.
        if error.status_code not in (403, 409):
            raise


def _remove_all(client: DockerClient, found: list[Found]) -> None:
    if found:
        with ThreadPoolExecutor(min(len(found), 16)) as pool:
            list(pool.map(lambda item: remove_one(client, item.kind, item.identifier or item.name), found))
