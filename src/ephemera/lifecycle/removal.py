"""Removal of environments: a stack's objects on the Docker engine, found by label, removed side by side, proven gone.

Pulumi removes resources one after the other, and writes the state after each. Labels find all of them at once, also
where there is no Pulumi, no owner, or half a state; what they do not plainly cover is left to Pulumi
(:func:`ephemera.pulumi.engine.destroy`). Only objects with this backend's label are ever touched.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from docker import DockerClient
from docker.errors import APIError, NotFound

from ephemera.home import addresses, documents, identity, leases, scratch
from ephemera.home.documents import DiskError
from ephemera.home.leases import Lease
from ephemera.host import clock
from ephemera.host.processes import end_group, end_tree
from ephemera.lifecycle import holding, placement
from ephemera.model import labels, progress
from ephemera.model.errors import EngineError, MachineError
from ephemera.observe import recording
from ephemera.pulumi import engine, engine_locks, known, state
from ephemera.pulumi.state import Resource, StateError
from ephemera.pulumi.workspace import Workspace

SETTLE_SECONDS = 0.5
"""Docker carries on with the requests of a killed client: a container can appear after a first empty look."""
_DEADLINE_SECONDS = 20.0
_THREADS = 16
_KINDS = {state.CONTAINER: "container", state.NETWORK: "network", state.VOLUME: "volume"}


@dataclass(frozen=True, kw_only=True)
class Found:
    """An object of the engine: ``container``, ``network`` or ``volume``, its name and the stack it belongs to.
    ``identifier``: its id, which tells it from others of its name; volumes have none. ``marks``: its labels."""

    kind: str
    name: str
    stack: str
    identifier: str = field(default="", compare=False)
    marks: Mapping[str, str] = field(default_factory=dict, compare=False)

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def find(client: DockerClient, stack: str | None = None, backend: str | None = None) -> list[Found]:
    """Return everything of ``stack`` (of all stacks when None) that is recorded in ``backend`` (this user's)."""
    filters = labels.filters(backend or identity.backend_id(), stack)
    listed = [("container", item) for item in client.api.containers(all=True, filters=filters) if item["Names"]]
    listed += [("volume", item) for item in client.api.volumes(filters=filters)["Volumes"] or ()]
    listed += [("network", item) for item in client.api.networks(filters=filters)]
    return [
        Found(
            kind=kind,
            name=item["Names"][0].lstrip("/") if kind == "container" else item["Name"],
            stack=(marks := item["Labels"] or {}).get(labels.STACK, ""),
            identifier=item["Id"] if kind != "volume" else "",
            marks=marks,
        )
        for kind, item in listed
    ]


def identity_of(client: DockerClient, stack: str) -> labels.Identity:
    """Return whose the stack is, by the labels of its objects; empty when there are none."""
    found = find(client, stack)
    return labels.Identity.of(found[0].marks if found else {labels.STACK: stack})


def remove(
    client: DockerClient,
    stack: str,
    backend: str | None = None,
    *,
    resources: Iterable[Resource] = (),
    settle_seconds: float = 0.0,
) -> list[Found]:
    """Remove everything of ``stack``, until two passes in a row find nothing; return what was found, each once.

    ``resources``: of its state; containers with a grace period are stopped first, side by side. ``settle_seconds``:
    between those two passes, when Pulumi was killed and may have asked for more.

    Raises :class:`EngineError` when something is still there after 20 s.
    """
    _side_by_side(lambda each: _stop(client, each), resources)
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
            raise EngineError(
                f"{', '.join(map(str, found))} of {stack} cannot be removed",
                remedy="see what holds them with `docker inspect`, then try again",
            )
        for containers in (True, False):  # which hold the others
            which = [item for item in found if (item.kind == "container") is containers]
            _side_by_side(lambda item: remove_one(client, item.kind, item.identifier or item.name), which)
    return list(seen)


def remove_one(client: DockerClient, kind: str, name: str) -> None:
    """Remove one object by name or id, unless it is gone or Docker cannot remove it yet."""
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
        # A removal in progress, or an endpoint that is just leaving (403 up to Docker 20.10): left to the next pass.
        if error.status_code not in (403, 409):
            raise


def remove_container(client: DockerClient, resource: Resource) -> None:
    """Remove a container of the state, after its grace period."""
    _stop(client, resource)
    remove_one(client, "container", resource["id"])


def remove_runners(client: DockerClient, stack: str) -> None:
    """Remove the containers of suites that run in the network of ``stack``; they do not count as leftovers."""
    for item in find(client, stack):
        if item.kind == "container" and labels.RUNNER in item.marks:
            remove_one(client, item.kind, item.identifier)


def remove_unwritten(client: DockerClient, stack: str, resources: Iterable[Resource]) -> None:
    """Remove the stack's containers and networks whose ids its state does not name: a killed engine had made them, and
    the next one needs their names. A suite that runs in the network is none of the engine's, and stays."""
    written = {each.get("id") for each in resources}
    for item in find(client, stack):
        if item.kind != "volume" and item.identifier not in written and labels.RUNNER not in item.marks:
            remove_one(client, item.kind, item.identifier)


def covered(client: DockerClient, resources: Iterable[Resource], found: Iterable[Found]) -> bool:
    """Return whether removing what was ``found`` by the stack's label is the same as destroying its resources.

    Not so with resources of other providers or another engine, kinds that have no labels, images that are to be
    removed, anything protected, retained, or destroyed by a hook, and objects that were made without the label. One
    that was made with it is found by it, or gone: an object of its name without the label is foreign.
    """
    labelled = {(item.kind, item.name) for item in found}
    return all(_covered(client, resource, labelled) for resource in resources)


def unknown(resources: Iterable[Resource], found: Iterable[Found]) -> list[Found]:
    """Return the objects with the stack's label that its state does not name."""
    written = {(_KINDS[each["type"]], _name(each)) for each in resources if each["type"] in _KINDS}
    return [item for item in found if (item.kind, item.name) not in written]


def is_foreign(client: DockerClient, resource: Resource) -> bool:
    """Return whether a volume that was made with our label has given its name to another one."""
    if not _made_with_label(resource.get("inputs") or {}):
        return False
    volume = inspected(client, "volume", _name(resource))
    return volume is not None and (volume.get("Labels") or {}).get(labels.BACKEND) != identity.backend_id()


def inspected(client: DockerClient, kind: str, name: str) -> Mapping[str, Any] | None:
    """Return a container, network or volume as Docker describes it; None if it is missing."""
    try:
        found: Mapping[str, Any] = getattr(client.api, f"inspect_{kind}")(name)
    except NotFound:
        return None
    return found


def end_what_a_dead_holder_left(stack: str) -> None:
    """Kill a dead holder's processes; its guardian may not have run."""
    lease = leases.read(stack)
    if lease is not None and lease.holder is not None and lease.holder.dead():
        end_processes(lease)


def end_processes(lease: Lease) -> None:
    """End the processes that a dead holder left running. The caller holds the stack: no other engine is at work."""
    if lease.engine is not None:
        end_group(lease.engine)
    engine.end_all(lease.stack)
    if lease.suite is not None:
        end_tree(lease.suite)


def discard(workspace: Workspace, stack: str) -> None:
    """Remove a stack without Pulumi: objects by label in parallel, then state, lease and address.

    A stack with resources of other providers, which labels do not cover, is destroyed by Pulumi first. Raises
    :class:`StateError` if the state cannot be read.
    """
    with placement.connected(workspace, stack) as client:
        if state.has_foreign_resources(workspace, stack):
            engine_locks.release_dead(workspace, stack)
            engine.destroy(workspace, stack)
        remove(client, stack, settle_seconds=SETTLE_SECONDS)
    forget(workspace, stack)


def readable(workspace: Workspace, stack: str) -> list[Resource] | None:
    """Return the resources of a stack to destroy; None if its state cannot be read, which is then set aside."""
    try:
        return state.resources(workspace, stack)
    except StateError as error:
        cause = error.__cause__
        documents.set_aside(workspace.state_file(stack), f"{type(cause).__name__}: {cause}".splitlines()[0])
        return None


def forget(workspace: Workspace, stack: str) -> None:
    """Drop everything recorded of a stack whose objects are gone.

    Raises :class:`MachineError` if a part cannot be dropped, on a read-only disk say, after the rest has been.
    """
    trouble: list[OSError] = []
    for step in (
        workspace.forget,
        known.forget,
        recording.forget,
        lambda name: documents.remove(holding.log_file(name)),
        scratch.remove,
        _release_address,
        leases.remove,
    ):
        if step is leases.remove and trouble:
            break  # by its lease, the stack can still be found
        try:
            step(stack)
        except OSError as error:
            trouble.append(error)
    if trouble:
        raise MachineError(
            f"{stack} is gone from Docker, but what is recorded of it cannot be dropped ({trouble[0]})",
            remedy=f"run `ephemera down {stack}` again when the disk can be written",
        )


def _covered(client: DockerClient, resource: Resource, labelled: set[tuple[str, str]]) -> bool:
    if any(resource.get(option) for option in ("protect", "retainOnDelete", "external", "resourceHooks")):
        return False
    if not resource.get("custom"):
        return True
    inputs: dict[str, Any] = resource.get("inputs") or {}
    if resource["type"] == state.PROVIDER:
        return "host" not in inputs and "context" not in inputs
    if resource["type"] == state.IMAGE:
        return inputs.get("keepLocally") is True
    kind, name = _KINDS.get(resource["type"]), _name(resource)
    if kind is None or not name:
        return False
    return (kind, name) in labelled or _made_with_label(inputs) or inspected(client, kind, name) is None


def _made_with_label(inputs: Mapping[str, Any]) -> bool:
    marks = inputs.get("labels")
    wanted = {"label": labels.BACKEND, "value": identity.backend_id()}
    return isinstance(marks, list) and any(isinstance(mark, dict) and wanted.items() <= mark.items() for mark in marks)


def _name(resource: Resource) -> str:
    """Return its name; empty if that is a secret."""
    name = (resource.get("outputs") or {}).get("name")
    return name if isinstance(name, str) else ""


def _stop(client: DockerClient, resource: Resource) -> None:
    """Stop a container that has a grace period."""
    seconds = int(resource.get("inputs", {}).get("destroyGraceSeconds") or 0)
    if not seconds or "id" not in resource:
        return
    try:
        client.api.stop(resource["id"], timeout=seconds)
    except NotFound:
        return
    except APIError as error:
        if error.status_code != 409:  # it is being removed
            raise


def _side_by_side(act: Callable[[Any], None], items: Iterable[Any]) -> None:
    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(act, items))


def _release_address(stack: str) -> None:
    try:
        addresses.release(stack)
    except DiskError as error:  # the stack gets it again, should it come back
        progress.tell(f"the address of {stack} stays taken: {error.message}")
