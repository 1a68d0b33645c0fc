"""Taking environments down when nothing can be relied on: no engine, no owner, half-made state."""

from __future__ import annotations

from collections.abc import Callable

from ephemera import images
from ephemera.contract import progress
from ephemera.contract.errors import MachineError
from ephemera.driver import engine, guardian, known, locks, placement, recording, removing, state, sweep
from ephemera.driver.state import StateError
from ephemera.driver.workspace import Workspace
from ephemera.home import addresses, documents, leases, scratch
from ephemera.home.documents import DiskError
from ephemera.home.leases import Lease
from ephemera.host.engine import connected
from ephemera.host.processes import end_group, end_tree

_SWEPT_TYPES = ("pulumi:", "docker:")
# Docker carries on with what a killed client has asked for: a container can appear after a first empty look.
_SETTLE_SECONDS = 0.5


def clean_up_after(workspace: Workspace, lease: Lease) -> None:
    """Do what a dead owner would have done: end its engine, then destroy what it was making, or only unlock; and drop
    what its build left."""
    with leases.exclusive(lease.stack):
        current = leases.read(lease.stack)
        # Else somebody else has taken it over meanwhile, and has seen to the dead owner's processes.
        if current is not None and current.holder == lease.holder:
            _clean_up(workspace, current)
    images.drop_abandoned()


def _clean_up(workspace: Workspace, lease: Lease) -> None:
    end_processes(lease)
    if lease.phase == "kept":
        with connected() as client:
            placement.refuse_other_engine(workspace, client, lease.stack)
            if not locks.release_dead(workspace, lease.stack):
                removing.remove_unwritten(client, lease.stack, state.resources(workspace, lease.stack))
        leases.change(lease.stack, holder=None, engine=None, suite=None, guardian=None)
    else:
        discard(workspace, lease.stack, asked_for=lease.phase == "destroying")
        while engine.end_all(lease.stack):  # it was just being started
            discard(workspace, lease.stack)


def end_processes(lease: Lease) -> None:
    """End what a dead holder left running. For who holds the stack exclusively: no other engine is at work then."""
    if lease.engine is not None:
        end_group(lease.engine)
    engine.end_all(lease.stack)
    if lease.suite is not None:
        end_tree(lease.suite)


def discard(workspace: Workspace, stack: str, *, asked_for: bool = False) -> None:
    """Remove all of a stack without asking the engine: objects by label in parallel, then state, lease and address.

    A stack that holds resources of other providers is destroyed by the engine first; labels do not cover those.
    ``asked_for``: a user wants it destroyed. Then its containers have the time to stop that they are given, the engine
    destroys what labels do not plainly cover, and a state that cannot be read is no reason to leave it.
    """
    with connected() as client:
        placement.refuse_other_engine(workspace, client, stack)
        resources = (readable(workspace, stack) or []) if asked_for else state.resources(workspace, stack)
        covered = not asked_for or removing.covered(client, resources, sweep.find(client, stack))
        if not covered or has_foreign_resources(workspace, stack):
            locks.release_dead(workspace, stack)
            engine.destroy(workspace, stack)
        elif asked_for:
            removing.remove(client, stack, resources)
    remove(stack)
    forget(workspace, stack)


def remove(stack: str) -> None:
    """Remove what the engine holds of a stack, by label, and what a killed engine had asked for a moment before."""
    with connected() as client:
        sweep.remove(client, stack, settle_seconds=_SETTLE_SECONDS)


def readable(workspace: Workspace, stack: str) -> list[state.Resource] | None:
    """Return the resources of a stack that is to go; None for a state that cannot be read, which is set aside."""
    try:
        return state.resources(workspace, stack)
    except StateError as error:
        cause = error.__cause__
        documents.set_aside(workspace.state_file(stack), f"{type(cause).__name__}: {cause}".splitlines()[0])
        return None


def forget(workspace: Workspace, stack: str) -> None:
    """Drop everything recorded of a stack whose objects are gone.

    Raises :class:`MachineError` when that cannot be, on a read-only disk say, after the rest has been dropped.
    """
    steps: tuple[Callable[[str], object], ...] = (
        workspace.forget,
        known.forget,
        recording.forget,
        lambda name: documents.remove(guardian.log_file(name)),
        scratch.remove,
        _release_address,
    )
    trouble = [error for step in steps if (error := _trouble(step, stack)) is not None]
    # The lease goes last: what is killed before this can still be found by it.
    trouble = trouble or [error for error in (_trouble(leases.remove, stack),) if error is not None]
    if trouble:
        raise MachineError(
            f"{stack} is gone from Docker, but what is recorded of it cannot be dropped ({trouble[0]})",
            remedy=f"run `ephemera down {stack}` again when the disk can be written",
        )


def _trouble(step: Callable[[str], object], stack: str) -> OSError | None:
    try:
        step(stack)
    except OSError as error:
        return error
    return None


def _release_address(stack: str) -> None:
    try:
        addresses.release(stack)
    except DiskError as error:  # it is given to the stack again, should that come back
        progress.tell(f"the address of {stack} stays taken: {error.message}")


def has_foreign_resources(workspace: Workspace, stack: str) -> bool:
    """Return whether the stack's state names resources that carry no label of ours."""
    found = state.resources(workspace, stack)
    return any(resource.get("custom") and not resource["type"].startswith(_SWEPT_TYPES) for resource in found)
