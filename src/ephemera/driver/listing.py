"""Every environment that is there: by state, by lease, and by what the engine holds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from docker import DockerClient

from ephemera.contract import labels
from ephemera.driver import placement, removal, state
from ephemera.driver.services import developed, is_done
from ephemera.driver.state import StateError
from ephemera.driver.workspace import Workspace
from ephemera.home import identity, leases
from ephemera.host import engine
from ephemera.host.engine import connected

State = Literal["running", "stopped", "coming up", "going down", "empty", "pooled", "elsewhere"]


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One environment. ``state`` is ``stopped`` while some of its containers do not run or are missing, ``empty`` when
    all are. Times are seconds since the epoch; ``endpoints`` are published ``host:port``, with ``/udp``
    behind it for UDP. ``development``: services with a mounted source folder. ``elsewhere``: it is on another Docker
    engine, of which ``docker_url`` is the address as far as it is known."""

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
    """Every environment of this user, by stack. One that plain ``pulumi up`` made gets a lease when first seen."""
    by_stack: dict[str, list[dict[str, Any]]] = {stack: [] for stack in workspace.stacks()}
    with connected() as client:
        for item in client.api.containers(all=True, filters=labels.filters(identity.backend_id())):
            by_stack.setdefault(item["Labels"].get(labels.STACK, ""), []).append(item)
        for lease in leases.all_leases():
            by_stack.setdefault(lease.stack, [])
        current = engine.identity(client)
        found = [_listed(workspace, client, current, stack, items) for stack, items in sorted(by_stack.items())]
    return [listed for listed in found if listed is not None]


def _listed(
    workspace: Workspace, client: DockerClient, current: str, stack: str, items: list[dict[str, Any]]
) -> Listed | None:
    lease = leases.read(stack)
    if lease is None:
        if not workspace.exists(stack) and not removal.find(client, stack):
            return None  # taken down since it was found: a lease would make it come back
        whose = labels.Identity.of(items[0]["Labels"] if items else {})
        lease = first_seen(workspace, stack, whose, current if items else "")
    elsewhere = not items and lease.docker not in ("", current)
    return Listed(
        stack=stack,
        system=lease.system,
        branch=lease.branch,
        owner=lease.owner,
        created_at=min([item["Created"] for item in items], default=lease.created_at),
        expires_at=lease.expires_at,
        state="elsewhere" if elsewhere else _state(lease, items, _declared(lease)),
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
    known = current or placement.recorded(workspace, stack)[0]
    return leases.first_seen(
        stack,
        whose.project or workspace.name,
        str(workspace.project),
        whose,
        docker=known,
        docker_url=engine.docker_host() if current else "",
    )


def _declared(lease: leases.Lease) -> set[str]:
    """Ids of the containers that the environment's state names; none where that cannot be told."""
    try:
        found = state.resources(Workspace(Path(lease.checkout), lease.project), lease.stack)
    except StateError:
        return set()
    return {str(each["id"]) for each in found if each["type"] == state.CONTAINER and each.get("id")}


def _state(lease: leases.Lease, items: list[dict[str, Any]], declared: set[str]) -> State:
    if lease.phase == "creating" and lease.held():
        return "coming up"
    if lease.phase == "destroying":
        return "going down"
    if not items:
        return "empty"
    missing = declared - {item["Id"] for item in items}
    if missing or not all(item["State"] == "running" or is_done(item) for item in items):
        return "stopped"
    return "pooled" if lease.phase == "pooled" else "running"
