"""Which Docker engine an environment is on, by the engine's own id: only there can it be judged.

The lease names it or, for a stack that plain ``pulumi`` made, its state. Where neither does, an earlier version made
it: it is taken to be on the engine in use.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from docker import DockerClient

from ephemera.docker import connection
from ephemera.home import leases
from ephemera.home.leases import Lease
from ephemera.model.errors import EphemeraError, OtherEngineError
from ephemera.pulumi import state
from ephemera.pulumi.state import StateError
from ephemera.pulumi.workspace import Workspace


def recorded(workspace: Workspace, stack: str) -> tuple[str, str]:
    """Return the id and address of the engine that the stack is on, empty where unknown."""
    lease = leases.read(stack)
    if lease is not None and lease.docker:
        return lease.docker, lease.docker_url
    try:
        return state.engine(state.resources(workspace, stack)), ""
    except StateError:
        return "", ""


def refuse_other_engine(workspace: Workspace, client: DockerClient, stack: str) -> str:
    """Return the id of the engine in use; raise :class:`OtherEngineError` when the stack is on another one."""
    known, url = recorded(workspace, stack)
    current = connection.identity(client)
    if known and current and known != current:
        raise OtherEngineError(stack, url, connection.docker_host())
    return current


@contextmanager
def connected(workspace: Workspace, stack: str) -> Iterator[DockerClient]:
    """Yield a client of the engine in use, as :func:`ephemera.docker.connection.connected` does; raise
    :class:`OtherEngineError` if the stack is on another one: all of it would seem to be missing."""
    with connection.connected() as client:
        refuse_other_engine(workspace, client, stack)
        yield client


def here(found: Iterable[Lease]) -> list[Lease]:
    """Return those that are, or may be, on the engine in use, which is asked only if a lease names one."""
    all_of_them = list(found)
    if not any(lease.docker for lease in all_of_them):
        return all_of_them
    try:
        with connection.connected() as client:
            current = connection.identity(client)
    except EphemeraError:
        return []  # without an answer, nothing can be done
    return [lease for lease in all_of_them if lease.docker in ("", current)]
