"""Taking environments down when nothing can be relied on: no engine, no owner, half-made state."""

from __future__ import annotations

from ephemera import images
from ephemera.driver import engine, guardian, known, recording, removing, state, sweep
from ephemera.driver.workspace import Workspace
from ephemera.home import addresses, leases, scratch
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
        engine.cancel(workspace, lease.stack)
        with connected() as client:
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
    ``asked_for``: somebody wants it destroyed. Then its containers have the time to stop that they are given, and the
    engine destroys what labels do not plainly cover.
    """
    resources = state.resources(workspace, stack)
    with connected() as client:
        covered = not asked_for or removing.covered(client, resources, sweep.find(client, stack))
        if not covered or has_foreign_resources(workspace, stack):
            engine.cancel(workspace, stack)
            engine.destroy(workspace, stack)
        elif asked_for:
            removing.remove(client, stack, resources)
    remove(stack)
    forget(workspace, stack)


def remove(stack: str) -> None:
    """Remove what the engine holds of a stack, by label, and what a killed engine had asked for a moment before."""
    with connected() as client:
        sweep.remove(client, stack, settle_seconds=_SETTLE_SECONDS)


def forget(workspace: Workspace, stack: str) -> None:
    """Drop everything recorded of a stack whose objects are gone."""
    workspace.forget(stack)
    addresses.release(stack)
    known.forget(stack)
    recording.forget(stack)
    guardian.log_file(stack).unlink(missing_ok=True)
    scratch.remove(stack)
    leases.remove(stack)  # last: what is killed before this can still be found by it


def has_foreign_resources(workspace: Workspace, stack: str) -> bool:
    """Whether the stack's state names resources that carry no label of ours."""
    found = state.resources(workspace, stack)
    return any(resource["custom"] and not resource["type"].startswith(_SWEPT_TYPES) for resource in found)
