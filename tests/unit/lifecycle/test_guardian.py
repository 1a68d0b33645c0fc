from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from ephemera.home import leases
from ephemera.home.leases import Lease
from ephemera.host.processes import ProcessId
from ephemera.lifecycle import guardian, holding, take_down
from ephemera.model.errors import MachineError
from ephemera.pulumi.workspace import Workspace
from tests.unit.doubles import IDENTITY
from tests.unit.processes import python

_STACK = IDENTITY.stack


@pytest.fixture
def cleaned(monkeypatch: pytest.MonkeyPatch) -> list[Lease]:
    """Leases of dead owners that were cleaned up after."""
    seen: list[Lease] = []
    monkeypatch.setattr(take_down, "clean_up_after", lambda _, lease: seen.append(lease))
    return seen


@pytest.fixture
def lease(workspace: Workspace) -> Lease:
    return leases.first_seen(_STACK, "demo", str(workspace.project), IDENTITY)


def _watch(workspace: Workspace, owner: ProcessId) -> int:
    holding.log_file(_STACK).parent.mkdir(exist_ok=True)
    holding.log_file(_STACK).write_text("")
    return guardian.main([str(workspace.project), _STACK, json.dumps(asdict(owner))])


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
    assert not holding.log_file(_STACK).exists()


@pytest.mark.parametrize("left", ["nothing", "to another"])
def test_owner_that_ended_well_left_nothing_to_do(
    workspace: Workspace, lease: Lease, cleaned: list[Lease], left: str
) -> None:
    dead = ProcessId.of_started(2**22 - 1)
    if left == "nothing":
        leases.remove(_STACK)
    else:
        leases.write(replace(lease, holder=ProcessId.of()))
    assert _watch(workspace, dead) == 0
    assert cleaned == []
    assert not holding.log_file(_STACK).exists()


def test_process_that_got_the_owners_number_is_not_waited_for(
    workspace: Workspace, lease: Lease, cleaned: list[Lease]
) -> None:
    now = ProcessId.of()
    owner = replace(now, ticks=now.ticks - 6000)
    leases.write(replace(lease, holder=owner))
    assert _watch(workspace, owner) == 0
    assert len(cleaned) == 1


def test_guardian_lives_in_a_session_of_its_own(kept: ProcessId) -> None:
    assert os.getsid(kept.pid) == kept.pid != os.getsid(0)
    assert kept.alive()


def test_guardian_that_is_killed_is_replaced(kept: ProcessId) -> None:
    os.kill(kept.pid, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while (now := _guardian()) in (None, kept):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert now is not None
    assert now.alive()


def test_guardian_that_is_dismissed_is_not_replaced(kept: ProcessId) -> None:
    watch = next(thread for thread in threading.enumerate() if thread.name == f"guardian-{_STACK}")
    holding.dismiss(_STACK)
    watch.join(10)
    assert not watch.is_alive()
    deadline = time.monotonic() + 20
    while kept.alive():  # it lets go of what told of its end a moment before
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert _guardian() is None
    assert not holding.log_file(_STACK).exists()


def test_guardian_that_fails_is_not_started_again_and_again(
    workspace: Workspace, lease: Lease, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    leases.change(_STACK, holder=ProcessId.of())
    interpreter = tmp_path / "python"
    interpreter.write_text(f"#!/bin/sh\necho started >> {tmp_path}/starts\nexit 1\n")
    interpreter.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(interpreter))
    holding.keep(workspace.project, _STACK)
    for watch in [thread for thread in threading.enumerate() if thread.name == f"guardian-{_STACK}"]:
        watch.join(10)
        assert not watch.is_alive()
    assert (tmp_path / "starts").read_text() == "started\n"


@pytest.mark.parametrize("trouble", [MachineError("no Docker engine answers"), OSError("no space left")])
def test_guardian_tries_until_what_is_in_its_way_is_gone(
    workspace: Workspace, lease: Lease, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    calls: list[Lease] = []

    def clean(_: Workspace, dead: Lease) -> None:
        calls.append(dead)
        if len(calls) < 3:
            raise trouble

    monkeypatch.setattr(take_down, "clean_up_after", clean)
    monkeypatch.setattr(guardian, "_RETRY_SECONDS", 0.01)
    dead = ProcessId.of_started(2**22 - 1)
    leases.write(replace(lease, holder=dead))
    assert _watch(workspace, dead) == 0
    assert len(calls) == 3


def test_guardian_whose_patience_ends_leaves_it_to_the_reaper(
    workspace: Workspace, lease: Lease, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def clean(_: Workspace, __: Lease) -> None:
        raise MachineError("no Docker engine answers")

    monkeypatch.setattr(take_down, "clean_up_after", clean)
    monkeypatch.setattr(guardian, "_PATIENCE_SECONDS", 0.0)
    dead = ProcessId.of_started(2**22 - 1)
    leases.write(replace(lease, holder=dead))
    assert _watch(workspace, dead) == 1
    assert "no Docker engine answers" in capsys.readouterr().out
    assert leases.read(_STACK) is not None


@pytest.fixture
def kept(workspace: Workspace, lease: Lease) -> Iterator[ProcessId]:
    """A guardian of this process."""
    leases.change(_STACK, holder=ProcessId.of())
    holding.keep(workspace.project, _STACK)
    started = _guardian()
    assert started is not None
    yield started
    holding.dismiss(_STACK)


def _guardian() -> ProcessId | None:
    lease = leases.read(_STACK)
    return lease.guardian if lease else None
