"""Taking environments down, by a command or after one that died, and the proof that all of it is gone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from docker import DockerClient

from ephemera import images
from ephemera.docker.connection import connected
from ephemera.home import addresses, leases
from ephemera.home.documents import DiskError
from ephemera.home.leases import Lease
from ephemera.host import clock
from ephemera.host.processes import ProcessId
from ephemera.lifecycle import holding, listing, mending, placement, removal
from ephemera.lifecycle.finding import alive
from ephemera.model.errors import (
    EngineError,
    InputError,
    Interrupt,
    LeftoversError,
    MachineError,
    NoSuchEnvironmentError,
    OtherEngineError,
)
from ephemera.model.progress import Event
from ephemera.observe import evidence, recording
from ephemera.pulumi import engine, engine_locks, state
from ephemera.pulumi.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class Gone:
    """An environment that was taken down; ``leftovers`` were found by the proof, and removed."""

    stack: str
    seconds: float
    leftovers: tuple[str, ...]


def down(workspace: Workspace, stack: str, report: Callable[[Event], None] = lambda _: None) -> Gone:
    """Destroy the environment and prove that it is gone: state, config, lock, lease, address, and all its objects.

    Raises :class:`NoSuchEnvironmentError`, and :class:`OtherEngineError` for one on another Docker engine. What Pulumi
    fails to destroy is removed by label and reported; where labels do not cover it, the environment stays as it was.
    A killed or interrupted destroy is finished by the guardian.
    """
    started = clock.monotonic()
    with _held(workspace, stack) as client:
        before = leases.read(stack)
        try:
            _begin(workspace, client, stack)
        except DiskError as trouble:
            report({"type": "notice", "message": f"{stack} is destroyed without a guardian: {trouble.message}"})
        # Of one that has lost its state, all is found by label.
        by_label_alone = before is not None and not workspace.exists(stack)
        try:
            removal.remove_runners(client, stack)
            left = _destroy(workspace, client, stack, report)
        except Interrupt as stop:
            message = f"interrupted; the rest of {stack} is taken down in the background"
            raise Interrupt(stop.number, message=message, remedy="`ephemera ls` shows it") from None
        except EngineError:
            if before is not None and before.holder == ProcessId.of():
                leases.note(stack, phase=before.phase)
            else:
                holding.let_go(stack)
            raise
        held = leases.read(stack)
        removal.forget(workspace, stack)
        holding.dismiss(stack, held)
    leftovers = () if by_label_alone else tuple(map(str, left))
    return Gone(stack=stack, seconds=clock.monotonic() - started, leftovers=leftovers)


def proven(gone: Gone) -> Gone:
    """Return ``gone``; raise :class:`LeftoversError` if the proof found something."""
    if gone.leftovers:
        raise LeftoversError(gone.stack, gone.leftovers)
    return gone


def hand_over(workspace: Workspace, stack: str) -> None:
    """Leave it to the environment's guardian to take it down as soon as this process ends.

    Raises :class:`NoSuchEnvironmentError`, and :class:`EngineError` while Pulumi is at work on it.
    """
    with _held(workspace, stack) as client:
        if engine_locks.release_dead(workspace, stack):
            raise EngineError(f"{stack} is locked: an engine is at work on it", remedy="try again when that has ended")
        _begin(workspace, client, stack)


def forget(workspace: Workspace, stack: str) -> None:
    """Drop what is recorded of an environment whose Docker engine is gone for good; nothing is removed from any engine.

    Raises :class:`InputError` for one that is on the engine in use, or whose engine is unknown. An engine in use that
    does not answer counts as gone.
    """
    with leases.exclusive(stack), ExitStack() as opened:
        try:
            client = opened.enter_context(connected())
            _refuse_unknown(workspace, client, stack)
            placement.refuse_other_engine(workspace, client, stack)
        except (MachineError, OtherEngineError):
            if not _is_recorded(workspace, stack):
                raise
            removal.forget(workspace, stack)
            return
    raise InputError(
        f"environment {stack!r} is on the Docker engine in use", remedy=f"`ephemera down {stack}` destroys it"
    )


def clean_up_after(workspace: Workspace, lease: Lease) -> None:
    """Do what a dead owner would have done: end its engine, then destroy what it was making, or only unlock; and drop
    what its build left."""
    with leases.exclusive(lease.stack):
        current = leases.read(lease.stack)
        # Else another process has taken it over meanwhile, and has ended the dead owner's processes.
        if current is not None and current.holder == lease.holder:
            removal.end_processes(current)
            if current.phase == "kept":
                _unlock(workspace, current)
            else:
                clean_up = _finish if current.phase == "destroying" else removal.discard
                clean_up(workspace, lease.stack)
                while engine.end_all(lease.stack):  # it was just being started
                    clean_up(workspace, lease.stack)
    images.drop_abandoned()


def _unlock(workspace: Workspace, lease: Lease) -> None:
    with placement.connected(workspace, lease.stack) as client:
        if not engine_locks.release_dead(workspace, lease.stack):
            removal.remove_unwritten(client, lease.stack, state.resources(workspace, lease.stack))
    leases.change(lease.stack, holder=None, engine=None, suite=None, guardian=None)


def _finish(workspace: Workspace, stack: str) -> None:
    """Finish the destroy of a command that died, whose engine may still have something made."""
    with placement.connected(workspace, stack) as client:
        _destroy(workspace, client, stack, None)
        removal.remove(client, stack, settle_seconds=removal.SETTLE_SECONDS)
    removal.forget(workspace, stack)


@contextmanager
def _held(workspace: Workspace, stack: str) -> Iterator[DockerClient]:
    """Keep every other command off the stack; yield a client of the Docker engine that it is on.

    Raises :class:`NoSuchEnvironmentError` and :class:`OtherEngineError`.
    """
    with leases.exclusive(stack), placement.connected(workspace, stack) as client:
        _refuse_unknown(workspace, client, stack)
        removal.end_what_a_dead_holder_left(stack)
        yield client


def _refuse_unknown(workspace: Workspace, client: DockerClient, stack: str) -> None:
    if not _is_recorded(workspace, stack) and not removal.find(client, stack):
        raise NoSuchEnvironmentError(stack, alive(workspace))


def _is_recorded(workspace: Workspace, stack: str) -> bool:
    # Plain `pulumi destroy` leaves records that only we can drop: an address, a lease.
    return workspace.exists(stack) or leases.read(stack) is not None or addresses.lookup(stack) is not None


def _begin(workspace: Workspace, client: DockerClient, stack: str) -> None:
    """Hold a stack that is to be destroyed: should this process end, its guardian does it."""
    before = leases.read(stack) or listing.first_seen(workspace, stack, removal.identity_of(client, stack))
    mine = ProcessId.of()
    if before.holder == mine:
        leases.change(stack, phase="destroying")
        return
    holding.keep(
        workspace.project,
        stack,
        lambda guardian: leases.change(stack, phase="destroying", holder=mine, guardian=guardian),
    )
    if before.guardian is not None:
        holding.end(before.guardian)


def _destroy(
    workspace: Workspace, client: DockerClient, stack: str, report: Callable[[Event], None] | None
) -> list[removal.Found]:
    """Destroy what the stack's state names, and prove that all is gone; return what else bore its label, and went too.

    ``report``: also takes evidence where Pulumi fails. Raises :class:`EngineError` if labels do not cover all of it.
    """
    tell = report or (lambda _: None)
    locked = engine_locks.release_dead(workspace, stack)
    recording.append(stack, "session", what="down")
    resources, found = removal.readable(workspace, stack), removal.find(client, stack)
    if resources is None:  # then nothing tells what else may bear its label
        removal.remove(client, stack)
        return []
    if not locked and removal.covered(client, resources, found):
        removal.remove(client, stack, resources=resources)
        return removal.unknown(resources, found)
    try:
        mending.disown(client, workspace, stack, resources, tell)
        engine.destroy(workspace, stack)
    except EngineError as error:
        if engine_locks.release_dead(workspace, stack) or state.has_foreign_resources(workspace, stack):
            raise  # an engine that we did not start is at work on it, or labels do not cover all of it
        if report:
            lease = leases.read(stack)
            run = (lease.run if lease else "") or evidence.new_run(stack)
            evidence.take(workspace, stack, run, error, report)
        tell({"type": "notice", "message": f"{error.message}; removed by label instead"})
        removal.remove(client, stack, settle_seconds=removal.SETTLE_SECONDS)
    return removal.remove(client, stack)
