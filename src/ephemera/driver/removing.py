"""Destroying a stack side by side by the Docker engine's API, where that takes away all that Pulumi's engine would.

Its engine removes one after the other what depends on each other, and writes the state after each. Labels find all of
it at once. What is not plainly covered by them is left to the engine (:func:`ephemera.driver.engine.destroy`).
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from docker import DockerClient
from docker.errors import APIError, NotFound

from ephemera.contract import labels
from ephemera.driver import state, sweep
from ephemera.driver.state import Resource
from ephemera.driver.sweep import Found
from ephemera.home import identity

_KINDS = {state.CONTAINER: "container", state.NETWORK: "network", state.VOLUME: "volume"}


def covered(client: DockerClient, resources: Iterable[Resource], found: Iterable[Found]) -> bool:
    """Whether removing what was ``found`` by the stack's label comes to the same as destroying its ``resources``.

    Not so when there are resources of other providers, of another engine, kinds of Docker's that have no labels, images
    that are to go too, anything protected, kept, or destroyed by a hook, and objects that were made without the label.
    One that was made with it is found by it, or gone: what has its name without the label is somebody else's.
    """
    labelled = {(item.kind, item.name) for item in found}
    return all(_covered(client, resource, labelled) for resource in resources)


def unknown(resources: Iterable[Resource], found: Iterable[Found]) -> list[Found]:
    """What bears the stack's label and is in no state: somebody else made it, or an engine that was killed."""
    known = {(_KINDS[each["type"]], _name(each)) for each in resources if each["type"] in _KINDS}
    return [item for item in found if (item.kind, item.name) not in known]


def remove_unwritten(client: DockerClient, stack: str, resources: Iterable[Resource]) -> None:
    """Remove the stack's containers and networks that its state does not know by their ids: an engine that was killed
    had made them, and had no time to write that down. Their names would be in the way of the next one. A suite that
    runs in the network is no engine's, and goes by itself."""
    known = {each.get("id") for each in resources}
    filters = sweep.filters_of(stack)
    listed = client.api.containers(all=True, filters=filters)
    containers = [("container", item["Id"]) for item in listed if labels.RUNNER not in item["Labels"]]
    networks = [("network", item["Id"]) for item in client.api.networks(filters=filters)]
    for kind, identifier in (*containers, *networks):
        if identifier not in known:
            sweep.remove_one(client, kind, identifier)


def remove(client: DockerClient, stack: str, resources: Iterable[Resource]) -> None:
    """Stop those containers that are given the time for it, side by side; then remove everything at once, and prove it
    gone as :func:`ephemera.driver.sweep.remove` does."""
    patient = [(each["id"], seconds) for each in resources if (seconds := _grace_seconds(each)) and "id" in each]
    if patient:
        with ThreadPoolExecutor(len(patient)) as pool:
            for done in [pool.submit(_stop, client, *each) for each in patient]:
                done.result()
    sweep.remove(client, stack)


def remove_container(client: DockerClient, resource: Resource) -> None:
    """Remove a container of the state, which is given the time to stop that it wants."""
    if seconds := _grace_seconds(resource):
        _stop(client, resource["id"], seconds)
    sweep.remove_one(client, "container", resource["id"])


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
    found_by_label = (kind, name) in labelled or _made_with_label(inputs)
    return kind is not None and bool(name) and (found_by_label or _gone(client, kind, name))


def is_foreign(client: DockerClient, resource: Resource) -> bool:
    """Return whether a volume that was made with our label has given its name to another one."""
    if not _made_with_label(resource.get("inputs") or {}):
        return False
    try:
        marks = client.api.inspect_volume(_name(resource)).get("Labels") or {}
    except NotFound:
        return False
    return marks.get(labels.BACKEND) != identity.backend_id()


def _made_with_label(inputs: dict[str, Any]) -> bool:
    marks = inputs.get("labels")
    wanted = {"label": labels.BACKEND, "value": identity.backend_id()}
    return isinstance(marks, list) and any(isinstance(mark, dict) and wanted.items() <= mark.items() for mark in marks)


def _gone(client: DockerClient, kind: str, name: str) -> bool:
    """Whether somebody has removed it already."""
    inspect = {
        "container": client.api.inspect_container,
        "network": client.api.inspect_network,
        "volume": client.api.inspect_volume,
    }[kind]
    try:
        inspect(name)
    except NotFound:
        return True
    return False


def _name(resource: Resource) -> str:
    """Empty where the state does not tell: one that is secret is no text there."""
    name = (resource.get("outputs") or {}).get("name")
    return name if isinstance(name, str) else ""


def _grace_seconds(resource: Resource) -> int:
    return int(resource.get("inputs", {}).get("destroyGraceSeconds") or 0)


def _stop(client: DockerClient, container: str, seconds: int) -> None:
    try:
        client.api.stop(container, timeout=seconds)
    except NotFound:
        return
    except APIError as error:
        if error.status_code != 409:  # it is being removed
            raise
