"""Taking environments down when nothing can be relied on: no engine, no owner, half-made state."""

from __future__ import annotations

import json
from typing import Any

from ephemera.contract.errors import EngineError
from ephemera.driver import engine, sweep
from ephemera.driver.workspace import Workspace
from ephemera.home import addresses, leases
from ephemera.home.leases import Lease
from ephemera.host.engine import connected
from ephemera.host.processes import end_group, end_tree

_SWEPT_TYPES = ("pulumi:", "docker:")
# Docker carries on with what a killed client has asked for: a container can appear after a first empty look.
_SETTLE_SECONDS = 0.5


def clean_up_after(workspace: Workspace, lease: Lease) -> None:
    """Do what a dead owner would have done: end its engine, then destroy what it was making, or only unlock."""
    with leases.exclusive(lease.stack):
        current = leases.read(lease.stack)
        if current is None or current.holder != lease.holder:
            return  # somebody else has taken it over meanwhile, and has seen to the dead owner's processes
        end_processes(lease)
        if lease.phase == "kept":
            engine.cancel(workspace, lease.stack)
            leases.change(lease.stack, holder=None, engine=None)
        else:
            discard(workspace, lease.stack)
            while engine.end_all(lease.stack):  # it was just being started
                discard(workspace, lease.stack)


def end_processes(lease: Lease) -> None:
    """End what a dead holder left running. For who holds the stack exclusively: no other engine is at work then."""
    if lease.engine is not None:
        end_group(lease.engine)
    engine.end_all(lease.stack)
    if lease.suite is not None:
        end_tree(lease.suite)


def discard(workspace: Workspace, stack: str) -> list[sweep.Found]:
    """Remove all of a stack without asking the engine: objects by label in parallel, then state, lease and address.

    A stack that holds resources of other providers is destroyed by the engine first; labels do not cover those.
    """
    if _has_foreign_resources(workspace, stack):
        engine.cancel(workspace, stack)
        engine.destroy(workspace, stack)
    with connected() as client:
        found = sweep.remove(client, stack, settle_seconds=_SETTLE_SECONDS)
    forget(workspace, stack)
    return found


def forget(workspace: Workspace, stack: str) -> None:
    """Drop everything recorded of a stack whose objects are gone."""
    workspace.forget(stack)
    addresses.release(stack)
    leases.remove(stack)


def _has_foreign_resources(workspace: Workspace, stack: str) -> bool:
    try:
        state: dict[str, Any] = json.loads(workspace.state_file(stack).read_text())
    except FileNotFoundError:
        return False
    except json.JSONDecodeError as error:
        raise EngineError(f"the state of {stack} cannot be read", remedy=str(error)) from error
    resources = (state.get("checkpoint", {}).get("latest") or {}).get("resources") or ()
    return any(resource["custom"] and not resource["type"].startswith(_SWEPT_TYPES) for resource in resources)
