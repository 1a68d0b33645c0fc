"""Filling a pool: takes down what is stale in it, and makes what is missing, one environment after the other.

``python -m ephemera.driver.filling POOL``: in the background of the command that started it; one at a time for a pool.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress

from docker.errors import DockerException

from ephemera.contract.catalog import find_system
from ephemera.contract.errors import EngineError, EphemeraError, NoSuchEnvironmentError
from ephemera.contract.names import pool_stack_name
from ephemera.contract.progress import Event
from ephemera.driver import known, lifecycle, pool
from ephemera.driver.pool import Pool
from ephemera.home import leases
from ephemera.home.leases import Lease
from ephemera.home.locks import LockTimeoutError, locked
from ephemera.host import clock
from ephemera.host.processes import ProcessId

_TROUBLE = (EphemeraError, DockerException, OSError)


def fill(name: str, report: Callable[[Event], None] = lambda _: None) -> str:
    """Make the pool what it is to be, now; waits for whoever is at it already. Why it failed, or nothing."""
    with locked(pool.lock_file(name, "filling")):
        return _fill(name, report)


def empty(wanted: Pool) -> list[str]:
    """Take down what nobody has claimed, once nobody fills the pool any more; leftovers that the proofs found."""
    with locked(pool.lock_file(wanted.name, "filling")):
        return [left for lease in pool.members(wanted) for left in _take_down(wanted, lease)]


def main(arguments: list[str]) -> int:
    """Fill the pool once whoever is at it has ended; of several that wait for that, one does."""
    (name,) = arguments
    with ExitStack() as held:
        try:
            with locked(pool.lock_file(name, "waiting"), timeout_seconds=0):
                held.enter_context(locked(pool.lock_file(name, "filling")))
        except LockTimeoutError:
            return 0
        if problem := _fill(name, lambda _: None):
            print(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {name}: {problem}", flush=True)
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
        except _TROUBLE as error:
            problem = str(error)
        pool.note(wanted, problem)
    return problem


def _make(wanted: Pool, report: Callable[[Event], None]) -> None:
    """One more. Raises what kept it from coming up, with where the evidence is."""
    request = _request(wanted)
    stack = request.stack or ""
    told: list[str] = []

    def listen(event: Event) -> None:
        if event["type"] == "notice":
            told.append(event["message"])
        report(event)

    try:
        lifecycle.up(wanted.workspace(), request, listen)
    except EphemeraError as error:
        evidence = [line for line in told if line.startswith("evidence")]
        raise EngineError(str(error), remedy="; ".join(evidence)) from error
    if why := known.doubt(stack):
        lifecycle.down(wanted.workspace(), stack)
        raise EngineError(f"environments of {wanted.system} cannot wait in a pool", remedy=why)


def _stale(wanted: Pool) -> list[Lease]:
    """Those that are not what would be made now, or that do not run any more, or have expired."""
    workspace = wanted.workspace()
    system = find_system(workspace.catalog, wanted.system)
    _, _, settings = lifecycle.plan(workspace, _request(wanted))
    found = []
    for lease in pool.members(wanted):
        if lease.phase != "pooled":
            continue
        remembered = known.read(lease.stack)
        fit = remembered is not None and not known.why_not(
            remembered, workspace, lease.stack, system, settings, any_branch=True
        )
        if not fit or lease.expires_at <= clock.now():
            found.append(lease)
    return found


def _request(wanted: Pool) -> lifecycle.Request:
    return lifecycle.Request(
        system=wanted.system,
        branch=leases.POOL_BRANCH,
        stack=pool_stack_name(wanted.system),
        config=wanted.config,
        phase="pooled",
    )


def _surplus(wanted: Pool) -> list[Lease]:
    ready = [lease for lease in pool.members(wanted) if pool.free(lease)]
    return ready[wanted.size :]


def _take_down(wanted: Pool, lease: Lease) -> tuple[str, ...]:
    """Unless somebody has claimed it meanwhile, or begun to use it."""
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
