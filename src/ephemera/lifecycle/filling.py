"""Filling a pool: takes down what is stale in it, and makes what is missing, one environment after the other.

``python -m ephemera.lifecycle.filling POOL``: in the background, one at a time for a pool.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from docker.errors import DockerException

from ephemera import lifecycle
from ephemera.home import leases
from ephemera.home.leases import Lease
from ephemera.home.locks import LockTimeoutError
from ephemera.host import clock
from ephemera.host.processes import ProcessId
from ephemera.lifecycle import pool
from ephemera.lifecycle.pool import Pool
from ephemera.model.catalog import find_system
from ephemera.model.errors import EngineError, EphemeraError, NoSuchEnvironmentError
from ephemera.model.names import pool_stack_name
from ephemera.model.progress import Event
from ephemera.pulumi import known


def fill(name: str, report: Callable[[Event], None] = lambda _: None) -> str:
    """Fill the pool, after a process that is at it already; return why that failed, or an empty text."""
    with pool.filling(name):
        return _fill(name, report)


def empty(wanted: Pool) -> list[str]:
    """Take down what is unclaimed, after a process that fills the pool; return the leftovers that the proofs found."""
    with pool.filling(wanted.name):
        return [left for lease in pool.members(wanted) for left in _take_down(wanted, lease)]


def request(system: str, config: Mapping[str, str]) -> lifecycle.Request:
    """Return the request for one more environment of a pool."""
    return lifecycle.Request(
        system=system, branch=leases.POOL_BRANCH, stack=pool_stack_name(system), config=config, phase="pooled"
    )


def main(arguments: list[str]) -> int:
    """Fill the pool, unless another process is at it, which does so once more if the pool was set anew meanwhile."""
    (name,) = arguments
    while True:
        try:
            with pool.filling(name, timeout_seconds=0):
                before = pool.read(name)
                problem = _fill(name, lambda _: None)
        except LockTimeoutError:
            return 0
        if problem:
            print(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {name}: {problem}", flush=True)
        wanted = pool.read(name)
        if wanted is None or before is None:
            return 0
        same = (wanted.size, wanted.config) == (before.size, before.config)
        if same and not pool.due(wanted):
            return 0


def _fill(name: str, report: Callable[[Event], None]) -> str:
    problem = ""
    while (wanted := pool.read(name)) is not None and not problem:
        try:
            for lease in [*_stale(wanted), *_surplus(wanted)]:
                _take_down(wanted, lease)
            if not pool.missing(wanted):
                break
            _make(wanted, report)
        except (EphemeraError, DockerException, OSError) as error:
            problem = str(error)
        pool.note(wanted, problem)
    return problem


def _make(wanted: Pool, report: Callable[[Event], None]) -> None:
    """Make one more. Raises the reason why it did not come up, with the place of the evidence."""
    evidence: list[str] = []

    def listen(event: Event) -> None:
        if event["type"] == "notice" and event["message"].startswith("evidence"):
            evidence.append(event["message"])
        report(event)

    try:
        ready = lifecycle.up(wanted.workspace(), request(wanted.system, wanted.config), listen)
    except EphemeraError as error:
        raise EngineError(str(error), remedy="; ".join(evidence)) from error
    stack = ready.outputs.stack
    if why := known.doubt(stack):
        lifecycle.down(wanted.workspace(), stack)
        raise EngineError(f"environments of {wanted.system} cannot wait in a pool", remedy=why)


def _stale(wanted: Pool) -> list[Lease]:
    """Return those that differ from what would be made now, do not run any more, or have expired."""
    workspace = wanted.workspace()
    system = find_system(workspace.catalog, wanted.system)
    _, _, settings = lifecycle.plan(workspace, request(wanted.system, wanted.config))

    def fits(lease: Lease) -> bool:
        found = known.read(lease.stack)
        return (
            lease.expires_at > clock.now()
            and found is not None
            and not known.why_not(found, workspace, lease.stack, system, settings, any_branch=True)
        )

    return [lease for lease in pool.members(wanted) if lease.phase == "pooled" and not fits(lease)]


def _surplus(wanted: Pool) -> list[Lease]:
    ready = [lease for lease in pool.members(wanted) if pool.free(lease)]
    return ready[wanted.size :]


def _take_down(wanted: Pool, lease: Lease) -> tuple[str, ...]:
    """Take it down, unless it was claimed meanwhile, or is in use; return the leftovers."""
    idle = leases.take(
        lease.stack,
        lambda now: now.phase == "pooled" and not now.in_use(),
        phase="destroying",
        holder=ProcessId.of(),  # so that the reaper goes on where this process is killed
    )
    if idle is None:
        return ()
    with suppress(NoSuchEnvironmentError):  # the reaper was there first
        return lifecycle.down(wanted.workspace(), lease.stack).leftovers
    return ()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
