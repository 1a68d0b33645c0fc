"""The guardian: a detached process that cleans up after an owner that died without doing so itself.

``python -m ephemera.driver.guardian PROJECT STACK PID STARTED``: waits on a pidfd until the owner is gone. One that
ended well has removed the lease, or passed it on; then there is nothing to do.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path

from ephemera.home import leases
from ephemera.home.paths import state_dir
from ephemera.host.processes import ProcessId


def start(project: Path, stack: str, owner: ProcessId) -> ProcessId:
    """Start a guardian for ``stack``; it outlives this process."""
    folder = state_dir() / "guardians"
    folder.mkdir(exist_ok=True)
    with (folder / f"{stack}.log").open("w") as log:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "ephemera.driver.guardian",
                str(project),
                stack,
                str(owner.pid),
                repr(owner.started),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd=os.sep,
        )
    process.returncode = 0  # never waited for: it is init's when this process is gone
    return ProcessId.of(process.pid)


def log_file(stack: str) -> Path:
    """Where the stack's guardian writes what it does."""
    return state_dir() / "guardians" / f"{stack}.log"


def main(arguments: list[str]) -> int:
    """Wait for the owner's end, then do what the lease asks for."""
    project, stack, pid, started = arguments
    owner = ProcessId(pid=int(pid), started=float(started))
    _wait(owner)
    lease = leases.read(stack)
    if lease is None or lease.holder != owner:
        log_file(stack).unlink(missing_ok=True)
        return 0
    # Imported late: until it is needed, a guardian is a small process.
    from ephemera.driver.teardown import clean_up_after
    from ephemera.driver.workspace import Workspace

    print(f"owner {owner.pid} died, lease is {lease.phase}", flush=True)
    clean_up_after(Workspace(Path(project)), lease)
    log_file(stack).unlink(missing_ok=True)
    return 0


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
