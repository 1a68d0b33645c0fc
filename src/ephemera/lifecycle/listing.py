"""Every environment: by state, by lease, and by the objects on the Docker engine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ephemera.docker import connection
from ephemera.docker.connection import connected
from ephemera.docker.services import developed, is_done
from ephemera.home import identity, leases
from ephemera.lifecycle import placement, removal
from ephemera.model import labels
from ephemera.pulumi import state
from ephemera.pulumi.state import StateError
from ephemera.pulumi.workspace import Workspace

State = Literal["running", "stopped", "coming up", "going down", "empty", "pooled", "elsewhere"]


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One environment. ``state`` is ``stopped`` while some of its containers do not run or are missing, ``empty`` when
    all are. Times are seconds since the epoch; ``endpoints`` are published ``host:port``, with ``/udp``
    behind it for UDP. ``development``: services with a mounted source folder. ``elsewhere``: it is on another Docker
    engine, at ``docker_url`` if that is known."""

    stack: str
    system: str
    branch: str
    owner: str
    created_at: float
    expires_at: float
    state: State
    endpoints: tuple[str, ...]
    development: tuple[str, ...] = ()
    docker_url: str = ""


def environments(workspace: Workspace) -> list[Listed]:
    """Return every environment of this user, by stack. One of plain ``pulumi up`` gets a lease when first seen."""
    by_stack: dict[str, list[dict[str, Any]]] = {stack: [] for stack in workspace.stacks()}
    with connected() as client:
        for item in client.api.containers(all=True, filters=labels.filters(identity.backend_id())):
            by_stack.setdefault(item["Labels"].get(labels.STACK, ""), []).append(item)
        for lease in leases.all_leases():
            by_stack.setdefault(lease.stack, [])
        current = connection.identity(client)
        found = []
        for stack, items in sorted(by_stack.items()):
            known = leases.read(stack)
            if known is None:
                if not workspace.exists(stack) and not removal.find(client, stack):
                    continue  # taken down since it was found: a lease would make it come back
                whose = labels.Identity.of(items[0]["Labels"] if items else {})
                known = first_seen(workspace, stack, whose, current if items else "")
            found.append(_listed(known, items, current))
    return found


def _listed(lease: leases.Lease, items: list[dict[str, Any]], current: str) -> Listed:
    """Return it, with its containers as the engine lists them. ``current``: id of the engine in use."""
    elsewhere = not items and lease.docker not in ("", current)
    return Listed(
        stack=lease.stack,
        system=lease.system,
        branch=lease.branch,
        owner=lease.owner,
        created_at=min([item["Created"] for item in items], default=lease.created_at),
        expires_at=lease.expires_at,
        state="elsewhere" if elsewhere else _state(lease, items),
        endpoints=tuple(
            f"{port['IP']}:{port['PublicPort']}{'/udp' if port.get('Type') == 'udp' else ''}"
            for item in items
            for port in item["Ports"]
            if "PublicPort" in port
        ),
        development=developed(items),
        docker_url=lease.docker_url,
    )


def first_seen(workspace: Workspace, stack: str, whose: labels.Identity, current: str = "") -> leases.Lease:
    """Return a lease for a stack that has none. ``current``: id of the engine in use, where its objects were seen."""
    return leases.first_seen(
        stack,
        whose.project or workspace.name,
        str(workspace.project),
        whose,
        docker=current or placement.recorded(workspace, stack)[0],
        docker_url=connection.docker_host() if current else "",
    )


def _declared(lease: leases.Lease) -> set[str]:
    """Return the ids of the containers in the environment's state; none if it cannot be read."""
    try:
        found = state.resources(Workspace(Path(lease.checkout), lease.project), lease.stack)
    except StateError:
        return set()
    return {str(each["id"]) for each in found if each["type"] == state.CONTAINER and each.get("id")}


def _state(lease: leases.Lease, items: list[dict[str, Any]]) -> State:
    if lease.phase == "creating" and lease.held():
        return "coming up"
    if lease.phase == "destroying":
        return "going down"
    if not items:
        return "empty"
    missing = _declared(lease) - {item["Id"] for item in items}
    if missing or not all(item["State"] == "running" or is_done(item) for item in items):
        return "stopped"
    return "pooled" if lease.phase == "pooled" else "running"
