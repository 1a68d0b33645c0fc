from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from ephemera.driver import guardian, teardown
from ephemera.driver.workspace import Workspace
from ephemera.home import leases
from ephemera.home.leases import Lease
from ephemera.host.processes import ProcessId
from tests.unit.doubles import IDENTITY
from tests.unit.processes import python

_STACK = IDENTITY.stack


@pytest.fixture
def cleaned(monkeypatch: pytest.MonkeyPatch) -> list[Lease]:
    """Leases of dead owners that were cleaned up after."""
    seen: list[Lease] = []
    monkeypatch.setattr(teardown, "clean_up_after", lambda _, lease: seen.append(lease))
    return seen


@pytest.fixture
def lease(workspace: Workspace) -> Lease:
    return leases.first_seen(_STACK, "demo", str(workspace.project), IDENTITY)


def _watch(workspace: Workspace, owner: ProcessId) -> int:
    guardian.log_file(_STACK).parent.mkdir(exist_ok=True)
    guardian.log_file(_STACK).write_text("")
    return guardian.main([str(workspace.project), _STACK, str(owner.pid), repr(owner.started)])


def test_owner_that_dies_is_cleaned_up_after_when_it_is_dead_and_not_before(
    workspace: Workspace, lease: Lease, cleaned: list[Lease]
) -> None:
    with python("input()") as process:
        owner = ProcessId.of(process.pid)
        held = replace(lease, holder=owner)
        leases.write(held)
        watching = threading.Thread(target=_watch, args=(workspace, owner))
        watching.start()
        watching.join(0.1)
        assert watching.is_alive()
        assert cleaned == []
        process.kill()
        watching.join(10)
    assert cleaned == [held]
    assert not guardian.log_file(_STACK).exists()


@pytest.mark.parametrize("left", ["nothing", "to another"])
def test_owner_that_ended_well_left_nothing_to_do(
    workspace: Workspace, lease: Lease, cleaned: list[Lease], left: str
) -> None:
    dead = ProcessId(pid=2**22 - 1, started=1.0)
    if left == "nothing":
        leases.remove(_STACK)
    else:
        leases.write(replace(lease, holder=ProcessId.of()))
    assert _watch(workspace, dead) == 0
    assert cleaned == []
    assert not guardian.log_file(_STACK).exists()


def test_process_that_got_the_owners_number_is_not_waited_for(
    workspace: Workspace, lease: Lease, cleaned: list[Lease]
) -> None:
    now = ProcessId.of()
    owner = ProcessId(pid=now.pid, started=now.started - 60)
    leases.write(replace(lease, holder=owner))
    assert _watch(workspace, owner) == 0
    assert len(cleaned) == 1


def test_guardian_lives_in_a_session_of_its_own(tmp_path: Path) -> None:
    import os
    import signal

    watching = guardian.start(tmp_path, _STACK, ProcessId.of())
    try:
        assert os.getsid(watching.pid) == watching.pid != os.getsid(0)
        assert watching.alive()
    finally:
        os.kill(watching.pid, signal.SIGKILL)
        os.waitpid(watching.pid, 0)
