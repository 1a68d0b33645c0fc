"""Reaping: environments that outlived owner and guardian or expired unused, and the rests of abandoned builds.

``python -m ephemera.lifecycle.reaper``: reaps once, in the background of the command that started it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from docker.errors import DockerException

from ephemera import images
from ephemera.docker.connection import docker_host
from ephemera.home import builds, leases
from ephemera.home.leases import Lease
from ephemera.home.locks import LockTimeoutError, locked
from ephemera.home.paths import state_dir
from ephemera.host import clock
from ephemera.lifecycle import holding, placement
from ephemera.lifecycle.take_down import clean_up_after, down
from ephemera.model.errors import EphemeraError
from ephemera.pulumi.workspace import Workspace
from ephemera.warm.client import detached

Reason = Literal["its owner died", "expired"]


@dataclass(frozen=True, kw_only=True)
class Reaped:
    """One lease that was due. ``problem``: why the environment could not be taken down; empty if it is gone."""

    stack: str
    reason: Reason
    seconds: float
    problem: str = ""


def due(now: float | None = None) -> list[tuple[Lease, Reason]]:
    """Return the leases to act on, and why; none whose environment is in use, or on another Docker engine."""
    at = clock.now() if now is None else now
    found = [(lease, reason) for lease in leases.all_leases() if (reason := _reason(lease, at))]
    here = placement.here(lease for lease, _ in found)
    return [(lease, reason) for lease, reason in found if lease in here]


def reap(report: Callable[[Reaped], None] = lambda _: None) -> list[Reaped]:
    """Act on every lease that is due: clean up after dead owners, take down what has expired. Drop what abandoned
    builds left."""
    _tidy()
    reaped = []
    for lease, reason in due():
        started = time.monotonic()
        problem = _act(lease, reason)
        done = Reaped(stack=lease.stack, reason=reason, seconds=time.monotonic() - started, problem=problem)
        report(done)
        reaped.append(done)
    images.drop_abandoned()
    return reaped


def start_if_due() -> None:
    """Reap in a process of its own, if there is anything to reap."""
    _tidy()
    if due() or builds.abandoned(docker_host()):
        detached("ephemera.lifecycle.reaper", [], state_dir() / "logs" / "reaper.log").returncode = 0


def _tidy() -> None:
    """Remove the files of commands that were killed before they held anything: free locks without a lease."""
    for path in (state_dir() / "operations").glob("*.lock"):
        with suppress(LockTimeoutError, OSError), locked(path, timeout_seconds=0):
            if leases.read(path.stem) is None:
                holding.log_file(path.stem).unlink(missing_ok=True)
                path.unlink(missing_ok=True)


def _reason(lease: Lease, now: float) -> Reason | None:
    if lease.orphaned():
        return "its owner died"
    if lease.expires_at < now and not lease.in_use():
        return "expired"
    return None


def _act(lease: Lease, reason: Reason) -> str:
    workspace = Workspace(Path(lease.checkout), lease.project)
    try:
        if reason == "its owner died":
            clean_up_after(workspace, lease)
        elif leases.take(lease.stack, lambda now: _reason(now, clock.now()) is not None, phase="destroying"):
            down(workspace, lease.stack)
    except (EphemeraError, DockerException, OSError) as error:
        return str(error)
    return ""


def main(arguments: list[str]) -> int:  # noqa: ARG001 - as every program of a background process
    """Reap once; one line for each."""
    for done in reap():
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        with suppress(OSError):  # a log on a full disk
            outcome = done.problem or f"gone after {done.seconds:.1f} s"
            print(f"{stamp} {done.stack}: {done.reason}; {outcome}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
