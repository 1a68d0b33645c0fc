"""Holding an environment: the lease and its guardian around whatever changes one, and what is left on any way out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal

from docker.errors import DockerException

from ephemera.contract.errors import EngineError, EphemeraError, InputError, InterruptedByUserError
from ephemera.contract.labels import Identity
from ephemera.contract.progress import Event
from ephemera.contract.settings import Settings
from ephemera.driver import evidence, guardian, listing, locks, reaper, removal
from ephemera.driver.workspace import Workspace
from ephemera.home import leases
from ephemera.home.documents import DiskError
from ephemera.home.leases import Lease
from ephemera.host import clock
from ephemera.host.engine import docker_host
from ephemera.host.processes import ProcessId


def new_lease(workspace: Workspace, stack: str, settings: Settings, *, phase: leases.Phase, docker: str) -> Lease:
    """Return a lease of this process on the stack, which is on the Docker engine of that id; it is not written yet."""
    now = clock.now()
    known = leases.read(stack)
    return Lease(
        stack=stack,
        project=workspace.name,
        system=settings.system,
        branch=known.branch if known and known.from_pool else settings.branch,
        owner=settings.owner,
        checkout=str(workspace.project),
        run=evidence.new_run(stack),
        phase=phase,
        holder=ProcessId.of(os.getpid()),
        users=known.users if known else (),
        seeded=known.seeded if known else False,
        claimed=known.claimed if known else False,
        created_at=known.created_at if known else now,
        used_at=now,
        expires_at=max(known.expires_at if known else 0, now + leases.DEFAULT_TTL_SECONDS),
        docker=docker,
        docker_url=docker_host(),
        others=known.others if known else {},
    )


@contextmanager
def making(
    workspace: Workspace, lease: Lease, created: bool, keep_on_failure: bool, report: Callable[[Event], None]
) -> Iterator[None]:
    """Around an update; on any way out but success, evidence and then the clean-up."""
    before = leases.read(lease.stack)
    try:
        guardian.keep(workspace.project, lease.stack, lambda guardian: leases.write(replace(lease, guardian=guardian)))
        yield
    except BaseException as error:
        if isinstance(error, DiskError) and leases.read(lease.stack) == before:
            raise  # its lease could not be written: nothing was begun
        failed = isinstance(error, EphemeraError) and not isinstance(error, InterruptedByUserError)
        try:
            # Bad input is told in one line: nothing was created that could tell more.
            if failed and isinstance(error, EphemeraError) and not isinstance(error, InputError):
                evidence.take(workspace, lease.stack, lease.run, error, report)
        finally:
            if created and not (failed and keep_on_failure):
                _discard(workspace, lease, report)
            else:
                locks.release_dead(workspace, lease.stack)
                if before is not None:
                    leases.note(lease.stack, run=before.run, expires_at=before.expires_at)
                let_go(lease.stack)
            reaper.start_if_due()  # for a build that this has interrupted
        raise


@contextmanager
def taking_down(
    workspace: Workspace, stack: str, identity: Identity, report: Callable[[Event], None]
) -> Iterator[None]:
    """Hold the stack while the block destroys it, then forget it.

    A killed or interrupted destroy is finished by the guardian; one that the engine refuses leaves the environment as
    it was. On a disk that takes no lease it goes without a guardian.
    """
    before = leases.read(stack)
    try:
        before = begin_to_take_down(workspace, stack, identity)
    except DiskError as trouble:
        report({"type": "notice", "message": f"{stack} is destroyed without a guardian: {trouble.message}"})
    try:
        yield
    except InterruptedByUserError:
        raise InterruptedByUserError(
            f"interrupted; the rest of {stack} is taken down in the background", remedy="`ephemera ls` shows it"
        ) from None
    except EngineError:
        if before is not None and before.holder == ProcessId.of():
            leases.note(stack, phase=before.phase)
        else:
            let_go(stack)
        raise
    else:
        held = leases.read(stack)
        removal.forget(workspace, stack)
        guardian.dismiss(stack, held)


def begin_to_take_down(workspace: Workspace, stack: str, identity: Identity) -> Lease:
    """Hold a stack that is to be destroyed: should this process end, its guardian does it. The lease as it was."""
    before = leases.read(stack) or listing.first_seen(workspace, stack, identity)
    mine = ProcessId.of()
    if before.holder == mine:
        leases.change(stack, phase="destroying")
        return before

    def record(guardian: ProcessId) -> None:
        leases.change(stack, phase="destroying", holder=mine, guardian=guardian)

    guardian.keep(workspace.project, stack, record)
    if before.guardian is not None:
        guardian.end(before.guardian)
    return before


def let_go(stack: str, phase: Literal["kept", "pooled"] = "kept") -> None:
    """Stop holding an environment: it stays, until its lease expires, it is taken down or, in a pool, claimed."""
    leases.touch(stack, holder=None, phase=phase)
    guardian.dismiss(stack)


def end_what_a_dead_holder_left(stack: str) -> None:
    """Its guardian may not have come to it yet, and finds that we have taken over."""
    lease = leases.read(stack)
    if lease is not None and lease.holder is not None and lease.holder.dead():
        removal.end_processes(lease)


def _discard(workspace: Workspace, lease: Lease, report: Callable[[Event], None]) -> None:
    held = leases.read(lease.stack) or lease
    try:
        removal.discard(workspace, lease.stack)
    except (EphemeraError, DockerException, OSError) as trouble:
        # Its lease and guardian stay: as soon as this process ends, it tries until Docker is back.
        report({"type": "notice", "message": f"{lease.stack} is cleaned up in the background, not yet: {trouble}"})
        return
    guardian.dismiss(lease.stack, held)
