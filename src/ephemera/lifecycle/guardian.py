"""The guardian: a detached process that cleans up after an owner that died without doing so itself.

``python -m ephemera.lifecycle.guardian PROJECT STACK OWNER``: waits on a pidfd until the owner (a process as JSON) is
gone. One that ended well has removed the lease, or passed it on; then there is nothing to do.
"""

from __future__ import annotations

import json
import os
import select
import sys
from contextlib import suppress
from pathlib import Path

from ephemera.home import leases
from ephemera.home.leases import Lease
from ephemera.host.deadline import turns
from ephemera.host.processes import ProcessId
from ephemera.lifecycle.holding import drop_log
from ephemera.model.errors import EphemeraError

_RETRY_SECONDS = 1.0
_PATIENCE_SECONDS = 900.0
"""An engine that is down, or a disk that is full, may come back; after that it is the reaper's."""


def main(arguments: list[str]) -> int:
    """Wait for the owner's end, then do what the lease asks for."""
    project, stack, document = arguments
    owner = ProcessId(**json.loads(document))
    _wait(owner)
    lease = leases.read(stack)
    if lease is not None and lease.holder == owner:
        _say(f"owner {owner.pid} died, lease is {lease.phase}")
        if not _cleaned_up(Path(project), lease):
            return 1
    drop_log(stack)
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


def _cleaned_up(project: Path, lease: Lease) -> bool:
    # Imported late: until it is needed, a guardian is a small process.
    from docker.errors import DockerException

    from ephemera.lifecycle.take_down import clean_up_after
    from ephemera.pulumi.workspace import Workspace

    for _ in turns(_PATIENCE_SECONDS, _RETRY_SECONDS):
        try:
            clean_up_after(Workspace(project, lease.project), lease)
            return True
        except (EphemeraError, DockerException, OSError) as error:
            _say(f"{lease.stack} cannot be cleaned up yet: {error}")
    return False


def _say(line: str) -> None:
    """Add a line to the log, unless the disk is full."""
    with suppress(OSError):
        print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
