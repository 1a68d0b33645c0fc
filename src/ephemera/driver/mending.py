"""Mending: before an update, what the state of a stack says and what the Docker engine holds are made to agree.

Pulumi's engine trusts its state and does not look: what was removed by hand it takes for there. What is missing, and
what is there but cannot go on, is dropped from the state by a refresh of these resources alone; the update makes it
again. What is left is not touched, data in volumes least of all. Containers that have stopped are started by the
program, each after what it needs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from docker import DockerClient
from docker.errors import NotFound

from ephemera.contract.errors import InputError
from ephemera.contract.progress import Event
from ephemera.driver import engine, removal, state
from ephemera.driver.state import Resource
from ephemera.driver.workspace import Workspace
from ephemera.home import leases
from ephemera.host.engine import connected

_THREADS = 16
# Components held a container then, and are one now (ADR 0050).
_EARLIER = re.compile(r"\$ephemera:index:(OneShot|OpenSearch|Postgres|Redis|WebService)\$ephemera:index:Container::")
_KINDS = {state.CONTAINER: "container", state.NETWORK: "network", state.VOLUME: "volume", state.IMAGE: "image"}
_BEYOND_REPAIR = ("dead", "removing")

Found = Mapping[str, Any] | None
"""A resource as the engine describes it; None when it is not there."""


def mend(workspace: Workspace, stack: str, report: Callable[[Event], None]) -> None:
    """Have the next update of a stack that was there before make again what is missing; say what that is.

    Raises :class:`EngineError` when the state cannot be refreshed, and :class:`InputError` for an environment of an
    earlier version, whose containers stand in the way of those that the update would make beside them.
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
        leases.change(stack, seeded=False)  # what was put in for tests is gone


def disown(
    client: DockerClient,
    workspace: Workspace,
    stack: str,
    resources: list[Resource],
    report: Callable[[Event], None],
) -> list[Resource]:
    """Drop volumes from the state that are not ours any more, with what depends on them; return what is left of it.

    Pulumi knows a volume by its name: it would delete one that has been made by hand under the name of a lost one.
    """
    foreign = [each for each in resources if each["type"] == state.VOLUME and removal.is_foreign(client, each)]
    if not foreign or workspace.locks(stack):
        return resources
    for each in foreign:
        report({"type": "notice", "message": f"volume {_name(each)} is not this environment's any more: it is left"})
        engine.run(workspace, stack, ["state", "delete", each["urn"], "--yes", "--force", "--target-dependents"])
    return state.resources(workspace, stack)


def _lost(client: DockerClient, resources: Collection[Resource]) -> list[Resource]:
    """What the engine has no more; containers that cannot go on are removed, and are among it."""
    known = [each for each in resources if each.get("urn") and each.get("id") and not each.get("external")]
    ours = [each for each in known if each["type"] in _KINDS]
    with ThreadPoolExecutor(_THREADS) as pool:
        found = dict(zip((each["urn"] for each in ours), pool.map(lambda each: _look(client, each), ours), strict=True))
    networks = {_name(each): each["id"] for each in ours if each["type"] == state.NETWORK and found[each["urn"]]}
    gone = {each["urn"] for each in ours if found[each["urn"]] is None}
    broken = {
        each["urn"]
        for each in ours
        if each["type"] == state.CONTAINER
        and each["urn"] not in gone
        and _is_broken(each, found[each["urn"]], networks)
    }
    undone = _undone(resources, found, gone | broken)
    for each in ours:
        if each["urn"] in broken | undone:
            removal.remove_container(client, each)
        elif each["type"] == state.CONTAINER and each["urn"] not in gone:
            _name_again(client, each, found[each["urn"]])
    return [each for each in ours if each["urn"] in gone | broken | undone]


def _look(client: DockerClient, resource: Resource) -> Found:
    kind, identifier = resource["type"], str(resource["id"])
    if kind != state.IMAGE:
        return removal.inspected(client, _KINDS[kind], identifier)
    try:
        image = client.api.inspect_image((resource.get("inputs") or {}).get("name") or identifier)
    except NotFound:
        return None
    # Made again by somebody else, it has another id, by which containers name it.
    return image if image["Id"] == (resource.get("outputs") or {}).get("imageId") else None


def _is_broken(resource: Resource, found: Found, networks: Mapping[str, str]) -> bool:
    """Whether the container cannot be started, or would not be reached: it is not in its network any more."""
    assert found is not None  # noqa: S101 - asked of those that are there
    current = found["State"]
    if current["Status"] in _BEYOND_REPAIR:
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


def _undone(resources: Collection[Resource], found: Mapping[str, Found], lost: Collection[str]) -> set[str]:
    """One-shots that have ended well, and whose work went with what they need: a volume, or a container that does not
    have its data in volumes that are left."""
    by_urn = {each["urn"]: each for each in resources}
    without_data = {urn for urn in lost if not _keeps_its_data(by_urn[urn], by_urn, lost)}
    needs = state.dependencies(list(resources))
    return {
        urn
        for urn, document in found.items()
        if urn not in lost and document is not None and _is_done(by_urn[urn], document)
        if without_data & _all_needs(urn, needs)
    }


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


def _is_done(resource: Resource, found: Mapping[str, Any]) -> bool:
    """Whether it is a one-shot that has ended well."""
    if not state.one_shots([resource]):
        return False
    return bool(found["State"]["Status"] == "exited" and found["State"]["ExitCode"] == 0)


def _name_again(client: DockerClient, resource: Resource, found: Found) -> None:
    name = _name(resource)
    if found is not None and name and found["Name"].lstrip("/") != name:
        client.api.rename(resource["id"], name)


def _name(resource: Resource) -> str:
    for part in ("outputs", "inputs"):
        name = (resource.get(part) or {}).get("name")
        if isinstance(name, str):  # one that is secret is no text there
            return name
    return ""
