from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ephemera.pulumi import engine_locks
from ephemera.pulumi.workspace import Workspace
from tests.unit.doubles import engine_lock
from tests.unit.processes import python

_STACK = "shop-main"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path, "demo")


def _left(workspace: Workspace) -> list[str]:
    return [path.name for path in engine_locks.release_dead(workspace, _STACK)]


def test_lock_of_a_living_engine_stays_whoever_started_it(workspace: Workspace) -> None:
    with python("input()") as process:
        lock = engine_lock(workspace, _STACK, pid=process.pid)
        assert _left(workspace) == ["a.json"]
        assert lock.is_file()
        process.kill()
        process.wait()
        assert _left(workspace) == []
        assert not lock.exists()


def test_only_the_dead_engines_lock_goes(workspace: Workspace) -> None:
    engine_lock(workspace, _STACK, "living")
    engine_lock(workspace, _STACK, "dead", pid=2**22 - 1)
    assert _left(workspace) == ["living.json"]
    assert [path.name for path in workspace.locks(_STACK)] == ["living.json"]


def test_lock_of_another_host_stays(workspace: Workspace) -> None:
    engine_lock(workspace, _STACK, pid=2**22 - 1, hostname="elsewhere")
    assert _left(workspace) == ["a.json"]


@pytest.mark.parametrize("by", ["timestamp", "file"])
def test_number_that_was_given_again_is_no_living_engine(workspace: Workspace, by: str) -> None:
    hour_ago = datetime.now(UTC) - timedelta(hours=1)
    with subprocess.Popen(["sleep", "60"]) as process:
        fields: dict[str, Any] = {"timestamp": hour_ago.isoformat()} if by == "timestamp" else {}
        lock = engine_lock(workspace, _STACK, pid=process.pid, **fields)
        if by == "file":
            os.utime(lock, (hour_ago.timestamp(), hour_ago.timestamp()))
        assert _left(workspace) == []
        process.kill()


def test_engine_that_was_there_before_the_clock_was_set_keeps_its_lock(workspace: Workspace, tmp_path: Path) -> None:
    program = tmp_path / "pulumi"
    program.symlink_to("/bin/sleep")
    copied = tmp_path / "bin" / "pulumi"
    copied.parent.mkdir()
    copied.write_bytes(Path("/bin/sleep").resolve().read_bytes())
    copied.chmod(0o700)
    with subprocess.Popen([str(copied), "60"]) as process:
        engine_lock(workspace, _STACK, pid=process.pid, timestamp="1970-01-01T00:00:00Z")
        assert _left(workspace) == ["a.json"]
        process.kill()


@pytest.mark.parametrize("text", ["", "{", "null", "{}", '{"pid": "one"}', f'{{"hostname": "{socket.gethostname()}"}}'])
def test_lock_that_names_no_engine_is_no_deadlock(
    workspace: Workspace, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_locks, "_WRITING_SECONDS", 0.05)
    engine_lock(workspace, _STACK).write_text(text)
    assert _left(workspace) == []


def test_lock_that_is_just_being_written_is_waited_for(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_locks, "_WRITING_SECONDS", 30.0)
    lock = engine_lock(workspace, _STACK)
    content = lock.read_text()
    lock.write_text("")
    found: list[list[str]] = []
    asking = threading.Thread(target=lambda: found.append(_left(workspace)))
    asking.start()
    lock.write_text(content)
    asking.join(20)
    assert found == [["a.json"]]


def test_stack_without_locks_has_none(workspace: Workspace) -> None:
    assert _left(workspace) == []
    assert time.monotonic() > 0
