"""The guardian: a detached process that cleans up after an owner that died without doing so itself.

``python -m ephemera.driver.guardian PROJECT STACK OWNER``: waits on a pidfd until the owner (a process as JSON) is
gone. One that ended well has removed the lease, or passed it on; then there is nothing to do. Owner and guardian watch
each other: a guardian that is killed is replaced by its owner. When both are, the next command reaps
(:mod:`ephemera.driver.reaper`).
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from ephemera.contract.errors import EphemeraError
from ephemera.home import leases
from ephemera.home.documents import DiskError
from ephemera.home.paths import state_dir
from ephemera.host.processes import ProcessId
from ephemera.warm.client import Forked, detached

if TYPE_CHECKING:
    from ephemera.home.leases import Lease

_Process = Forked | subprocess.Popen[bytes]

_RETRY_SECONDS = 1.0
_PATIENCE_SECONDS = 900.0
"""An engine that is down, or a disk that is full, may come back; after that it is the reaper's."""


def keep(project: Path, stack: str, record: Callable[[ProcessId], object] | None = None) -> None:
    """Have a guardian for ``stack`` for as long as this process holds its lease; it outlives this process.

    ``record`` writes it into the lease, with whatever else makes this process the holder: there is no moment at which
    something is held that nobody guards.
    """
    owner = ProcessId.of()
    guardian, process = _start(project, stack, owner)
    if record is None:
        leases.change(stack, guardian=guardian)
    else:
        try:
            record(guardian)
        except DiskError:
            end(guardian)  # there is nothing that it could guard
            process.wait()
            _drop_log(stack)
            raise
    watch = threading.Thread(target=_replace_when_killed, args=(project, stack, owner, guardian, process), daemon=True)
    watch.name = f"guardian-{stack}"
    watch.start()


def dismiss(stack: str, lease: Lease | None = None) -> None:
    """End the guardian of ``stack``: nobody holds it any more. ``lease``: as it was, when it has been removed since."""
    lease = lease or leases.read(stack)
    if lease is None or lease.guardian is None:
        return
    leases.note(stack, guardian=None)  # first: one that ends with the lease naming it is replaced
    end(lease.guardian)
    _drop_log(stack)


def end(guardian: ProcessId) -> None:
    """End one that no lease names any more."""
    if guardian.alive():
        os.kill(guardian.pid, signal.SIGTERM)


def log_file(stack: str) -> Path:
    """Where the stack's guardian writes what it does."""
    return state_dir() / "guardians" / f"{stack}.log"


def main(arguments: list[str]) -> int:
    """Wait for the owner's end, then do what the lease asks for."""
    project, stack, document = arguments
    owner = ProcessId(**json.loads(document))
    _wait(owner)
    lease = leases.read(stack)
    if lease is None or lease.holder != owner:
        _drop_log(stack)
        return 0
    _say(f"owner {owner.pid} died, lease is {lease.phase}")
    if not _cleaned_up(Path(project), lease):
        return 1
    _drop_log(stack)
    return 0


def _say(line: str) -> None:
    """Add a line to the log, which is on a disk that may be full: cleaning up is what counts."""
    with suppress(OSError):
        print(line, flush=True)


def _drop_log(stack: str) -> None:
    with suppress(OSError):
        log_file(stack).unlink(missing_ok=True)


def _cleaned_up(project: Path, lease: Lease) -> bool:
    # Imported late: until it is needed, a guardian is a small process.
    from docker.errors import DockerException

    from ephemera.driver.removal import clean_up_after
    from ephemera.driver.workspace import Workspace

    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            clean_up_after(Workspace(project, lease.project), lease)
            return True
        except (EphemeraError, DockerException, OSError) as error:
            _say(f"{lease.stack} cannot be cleaned up yet: {error}")
            if time.monotonic() > deadline:
                return False
        time.sleep(_RETRY_SECONDS)


def _start(project: Path, stack: str, owner: ProcessId) -> tuple[ProcessId, _Process]:
    log = log_file(stack)
    with suppress(OSError):
        log.parent.mkdir(exist_ok=True)
    arguments = [str(project), stack, json.dumps(asdict(owner))]
    process = detached("ephemera.driver.guardian", arguments, log)
    return ProcessId.of_started(process.pid), process


def _replace_when_killed(project: Path, stack: str, owner: ProcessId, guardian: ProcessId, process: _Process) -> None:
    while True:
        ended_by_itself = process.wait() >= 0
        lease = leases.read(stack)
        if ended_by_itself or lease is None or lease.holder != owner or lease.guardian != guardian:
            return
        guardian, process = _start(project, stack, owner)
        leases.note(stack, guardian=guardian)


def _wait(owner: ProcessId) -> None:
    try:
        descriptor = os.pidfd_open(owner.pid)
    except ProcessLookupError:
        return
    try:
        if owner.alive():  # and not another process that got its number
            select.select([descriptor], [], [])
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
