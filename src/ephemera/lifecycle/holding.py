"""Holding an environment: a guardian, detached, cleans up should this process die without doing so itself.

Owner and guardian watch each other: the owner replaces a guardian that is killed. When both are, the next command reaps
(:mod:`ephemera.lifecycle.reaper`).
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from ephemera.home import leases
from ephemera.home.documents import DiskError
from ephemera.home.leases import Lease
from ephemera.home.paths import state_dir
from ephemera.host.processes import ProcessId
from ephemera.warm.client import detached


def keep(project: Path, stack: str, record: Callable[[ProcessId], object] | None = None) -> None:
    """Have a guardian for ``stack`` for as long as this process holds its lease; it outlives this process.

    ``record`` writes it into the lease, together with this process as the holder: nothing is ever held unguarded.
    """
    arguments = [str(project), stack, json.dumps(asdict(ProcessId.of()))]

    def start() -> tuple[ProcessId, Callable[[], int]]:
        process = detached("ephemera.lifecycle.guardian", arguments, log_file(stack))
        return ProcessId.of_started(process.pid), process.wait

    guardian, wait = start()
    try:
        if record is None:
            leases.change(stack, guardian=guardian)
        else:
            record(guardian)
    except DiskError:
        if record is None:  # the lease has this holder already, and is guarded, though it does not say by whom
            raise
        end(guardian)
        wait()
        drop_log(stack)
        raise

    def replace_when_killed(guardian: ProcessId, wait: Callable[[], int]) -> None:
        while wait() < 0:  # one that fails is not started again and again
            lease = leases.read(stack)
            if lease is None or lease.holder != ProcessId.of() or lease.guardian != guardian:
                return
            guardian, wait = start()
            leases.note(stack, guardian=guardian)

    threading.Thread(target=replace_when_killed, args=(guardian, wait), name=f"guardian-{stack}", daemon=True).start()


def let_go(stack: str, phase: Literal["kept", "pooled"] = "kept") -> None:
    """Stop holding an environment: it stays until its lease expires, it is taken down or, in a pool, claimed."""
    leases.touch(stack, holder=None, phase=phase)
    dismiss(stack)


def dismiss(stack: str, lease: Lease | None = None) -> None:
    """End the guardian of ``stack``, which has no holder any more. ``lease``: as it was, if it has been removed."""
    lease = lease or leases.read(stack)
    if lease is None or lease.guardian is None:
        return
    leases.note(stack, guardian=None)  # first: one that ends with the lease naming it is replaced
    end(lease.guardian)
    drop_log(stack)


def end(guardian: ProcessId) -> None:
    """End a guardian that no lease names any more."""
    if guardian.alive():
        os.kill(guardian.pid, signal.SIGTERM)


def log_file(stack: str) -> Path:
    """Return the file that the stack's guardian writes to."""
    return state_dir() / "guardians" / f"{stack}.log"


def drop_log(stack: str) -> None:
    """Remove that file, as far as the disk allows."""
    with suppress(OSError):
        log_file(stack).unlink(missing_ok=True)
