"""Mending: before an update, make the state of a stack agree with the Docker engine.

Pulumi's engine trusts its state and does not look: it takes objects that were removed by hand for there. Missing ones,
and containers that cannot go on, are dropped from the state by a refresh of these resources alone; the update makes
them again. Everything else, data in volumes above all, is left alone. Containers that have stopped are started by the
program, each after those that it needs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from docker import DockerClient
from docker.errors import NotFound

from ephemera.docker.connection import connected
from ephemera.home import leases
from ephemera.lifecycle import removal
from ephemera.model.errors import InputError
from ephemera.model.progress import Event
from ephemera.pulumi import engine, state
from ephemera.pulumi.state import Resource
from ephemera.pulumi.workspace import Workspace

_THREADS = 16
# Components held a container then, and are one now (ADR 0050): the update would make those beside these.
_EARLIER = re.compile(r"\$ephemera:index:(OneShot|OpenSearch|Postgres|Redis|WebService)\$ephemera:index:Container::")
_KINDS = {state.CONTAINER: "container", state.NETWORK: "network", state.VOLUME: "volume", state.IMAGE: "image"}
_BEYOND_REPAIR = ("dead", "removing")

Found = Mapping[str, Any] | None
"""A resource as the engine describes it; None when it is not there."""


def mend(workspace: Workspace, stack: str, report: Callable[[Event], None]) -> None:
    """Drop resources from the state that are missing on the Docker engine, and report them: the next update makes
    them again.

    Raises :class:`EngineError` when the state cannot be refreshed, and :class:`InputError` for an environment that an
    earlier version made.
    """
    resources = state.resources(workspace, stack)
    if any(_EARLIER.search(str(resource.get("urn"))) for resource in resources):
        raise InputError(
            f"environment {stack!r} was made by an earlier version of ephemera",
            remedy=f"take it down, and up again: `ephemera down {stack}`",
        )
    if workspace.locks(stack):
        return  # another engine is at work on it, as the update will say
    with connected() as client:
        resources = disown(client, workspace, stack, resources, report)
        removal.remove_unwritten(client, stack, resources)
        with state.reading(workspace, stack):
            lost = _lost(client, resources)
    if not lost:
        return
    names = ", ".join(f"{_KINDS[each['type']]} {_name(each)}" for each in lost)
    report({"type": "notice", "message": f"{names} will be made again"})
    targets = [argument for each in lost for argument in ("--target", each["urn"])]
    engine.run(workspace, stack, ["refresh", "--yes", "--skip-preview", "--clear-pending-creates", *targets])
    if any(each["type"] == state.VOLUME for each in lost) and leases.read(stack) is not None:
        leases.change(stack, seeded=False)  # the tests' data is gone


def disown(
    client: DockerClient,
    workspace: Workspace,
    stack: str,
    resources: list[Resource],
    report: Callable[[Event], None],
) -> list[Resource]:
    """Drop volumes from the state that are not ours any more, with what depends on them; return the resources left.

    Pulumi knows a volume by its name: it would delete one that was made by hand under the name of a lost one.
    """
    foreign = [each for each in resources if each["type"] == state.VOLUME and removal.is_foreign(client, each)]
    if not foreign or workspace.locks(stack):
        return resources
    for each in foreign:
        report({"type": "notice", "message": f"volume {_name(each)} is not this environment's any more: it is left"})
        engine.run(workspace, stack, ["state", "delete", each["urn"], "--yes", "--force", "--target-dependents"])
    return state.resources(workspace, stack)


def _lost(client: DockerClient, resources: list[Resource]) -> list[Resource]:
    """Return resources that the Docker engine does not have; containers that cannot go on are removed, and among
    them."""
    ours = [
        each
        for each in resources
        if each["type"] in _KINDS and each.get("urn") and each.get("id") and not each.get("external")
    ]
    with ThreadPoolExecutor(_THREADS) as pool:
        found = dict(zip((each["urn"] for each in ours), pool.map(lambda each: _look(client, each), ours), strict=True))
    networks = {_name(each): each["id"] for each in ours if each["type"] == state.NETWORK and found[each["urn"]]}
    lost = {each["urn"] for each in ours if _cannot_go_on(each, found[each["urn"]], networks)}
    lost |= _undone(resources, found, lost)
    for each in ours:
        container = found[each["urn"]] if each["type"] == state.CONTAINER else None
        if container is not None and each["urn"] in lost:
            removal.remove_container(client, each)
        elif container is not None and (name := _name(each)) and container["Name"].lstrip("/") != name:
            client.api.rename(each["id"], name)
    return [each for each in ours if each["urn"] in lost]


def _look(client: DockerClient, resource: Resource) -> Found:
    kind, identifier = resource["type"], str(resource["id"])
    if kind != state.IMAGE:
        return removal.inspected(client, _KINDS[kind], identifier)
    try:
        image = client.api.inspect_image((resource.get("inputs") or {}).get("name") or identifier)
    except NotFound:
        return None
    # Made again by another run, it has another id, by which containers name it.
    return image if image["Id"] == (resource.get("outputs") or {}).get("imageId") else None


def _cannot_go_on(resource: Resource, found: Found, networks: Mapping[str, str]) -> bool:
    """Return whether it is gone, or a container that cannot be started or reached: it has left its network."""
    if found is None or resource["type"] != state.CONTAINER:
        return found is None
    if found["State"]["Status"] in _BEYOND_REPAIR:
        return True
    if _is_done(resource, found):
        return False
    attached = found["NetworkSettings"]["Networks"] or {}
    for wanted in (resource.get("inputs") or {}).get("networksAdvanced") or ():
        there = attached.get(wanted["name"])
        # One that has never run has no id yet.
        if there is None or wanted["name"] not in networks or there["NetworkID"] not in ("", networks[wanted["name"]]):
            return True
        if not set(wanted.get("aliases") or ()) <= set(there.get("Aliases") or ()):
            return True
    return False


def _undone(resources: list[Resource], found: Mapping[str, Found], lost: Collection[str]) -> set[str]:
    """Return one-shots that have ended well, and whose work went with something that they need: a volume, or a
    container that does not have its data in volumes that are left."""
    by_urn = {each["urn"]: each for each in resources}
    without_data = {urn for urn in lost if not _keeps_its_data(by_urn[urn], by_urn, lost)}
    needs = state.dependencies(resources)
    done = [urn for urn, document in found.items() if urn not in lost and _is_done(by_urn[urn], document)]
    return {urn for urn in done if without_data & _all_needs(urn, needs)}


def _keeps_its_data(resource: Resource, by_urn: Mapping[str, Resource], lost: Collection[str]) -> bool:
    if resource["type"] != state.CONTAINER:
        return bool(resource["type"] != state.VOLUME)
    mounted = {each.get("volumeName") for each in (resource.get("inputs") or {}).get("volumes") or ()} - {None}
    gone = {_name(by_urn[urn]) for urn in lost if by_urn[urn]["type"] == state.VOLUME}
    return bool(mounted) and not mounted & gone


def _all_needs(urn: str, needs: Mapping[str, Iterable[str]]) -> set[str]:
    known: set[str] = set()
    pending = [urn]
    while pending:
        new = set(needs.get(pending.pop(), ())) - known
        known |= new
        pending += new
    return known


def _is_done(resource: Resource, found: Found) -> bool:
    """Return whether it is a one-shot that has ended well."""
    if found is None or not state.one_shots([resource]):
        return False
    return bool(found["State"]["Status"] == "exited" and found["State"]["ExitCode"] == 0)


def _name(resource: Resource) -> str:
    for part in ("outputs", "inputs"):
        name = (resource.get(part) or {}).get("name")
        if isinstance(name, str):  # one that is secret is no text there
            return name
    return ""
