from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from ephemera.docker import connection
from ephemera.home import identity, leases
from ephemera.home.paths import state_dir
from ephemera.model import labels
from ephemera.model.errors import MachineError
from ephemera.observe import recording
from tests.unit.doubles import FakeClient, lease_of, marks

_STACK = "shop-main"
_WRITER = """
import sys
from ephemera.observe import recording
for number in range(400):
    recording.append(sys.argv[1], "test", nodeid=sys.argv[2], text="x" * 3000)
"""
_STATS = {
    "memory_stats": {"usage": 5000, "stats": {"total_inactive_file": 1000}},
    "cpu_stats": {"cpu_usage": {"total_usage": 2_500_000_000}},
    "pids_stats": {"current": 7},
}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interval that a test can wait for."""
    monkeypatch.setattr(recording, "_RETRY_SECONDS", 0.01)


@pytest.fixture
def stack(docker: FakeClient) -> Iterator[str]:
    """A stack that is there: it has a lease, and one container that runs."""
    now = time.time()
    lease = lease_of(_STACK, project="demo", phase="kept", run="r", created_at=now, used_at=now, expires_at=now + 60)
    leases.write(lease)
    docker.api.add("container", "web", marks(_STACK, identity.backend_id(), "web"))
    docker.api.usage["web-id"] = [_STATS]
    yield _STACK
    docker.api.end_events()


def _until(true: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 5
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _of(kind: str) -> list[dict[str, Any]]:
    return [record for record in recording.read(_STACK) if record["type"] == kind]


def test_events_and_usage_are_recorded_while_it_is_used(stack: str, docker: FakeClient) -> None:
    with recording.of(stack, "up"):
        docker.api.happen("die", "web-id", exitCode="137", **{labels.SERVICE: "web", "image": "secret/image"})
        _until(lambda: _of("event") and _of("usage"))
    assert [record["what"] for record in _of("session")] == ["up"]
    [event] = _of("event")
    assert {key: event[key] for key in ("service", "action", "exit_code")} == {
        "service": "web",
        "action": "die",
        "exit_code": 137,
    }
    assert "image" not in event
    assert _of("usage")[0]["services"] == {"web": [4000, 2.5, 7]}


def test_gates_are_recorded_and_reported_on(stack: str, docker: FakeClient) -> None:
    seen: list[dict[str, Any]] = []
    with recording.of(stack, "up"):
        report = recording.reporting(stack, seen.append)
        report({"type": "gate", "service": "web", "state": "waiting", "seconds": 0.5, "detail": "thinking"})
        report({"type": "building", "message": "Step 1"})
        report({"type": "failed", "error": {"service": "web", "cause": "exited", "message": "m"}})
        report({"type": "failed", "error": {"message": "no image"}})
    assert [event["type"] for event in seen] == ["gate", "building", "failed", "failed"]
    assert [(gate["state"], gate["detail"]) for gate in _of("gate")] == [("waiting", "thinking"), ("failed", "exited")]


def test_only_its_user_may_read_it(stack: str) -> None:
    with recording.of(stack, "up"):
        folder = state_dir() / "recordings"
        assert folder.stat().st_mode & 0o777 == 0o700
        assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_lines_of_several_processes_stay_whole(stack: str) -> None:
    with recording.of(stack, "tests"):
        writers = [
            subprocess.Popen([sys.executable, "-c", _WRITER, stack, name], env=os.environ.copy()) for name in "ab"
        ]
        assert [writer.wait(60) for writer in writers] == [0, 0]
        tests = _of("test")
    assert sorted(test["nodeid"] for test in tests) == [name for name in "ab" for _ in range(400)]


def test_one_of_several_records_and_another_takes_over(
    stack: str, docker: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    connections: list[FakeClient] = []

    def connect() -> FakeClient:
        connections.append(docker)
        return docker

    monkeypatch.setattr(connection, "connect", connect)
    with ExitStack() as first:
        first.enter_context(recording.of(stack, "first user"))
        docker.api.happen("pause", "web-id", **{labels.SERVICE: "web"})
        _until(lambda: _of("event"))
        with recording.of(stack, "second user"):
            time.sleep(0.1)  # that it only waits is no event
            assert len(connections) == 1
            first.close()
            docker.api.end_events()
            docker.api.happen("unpause", "web-id", **{labels.SERVICE: "web"})
            _until(lambda: len(_of("event")) == 2)
    assert [event["action"] for event in _of("event")] == ["pause", "unpause"]


def test_nothing_is_recorded_of_a_stack_that_is_gone(stack: str) -> None:
    with recording.of(stack, "up"):
        recording.forget(stack)
        recording.append(stack, "test", nodeid="late")
        leases.remove(stack)
    assert list((state_dir() / "recordings").iterdir()) == []


def test_recording_ends_with_the_stack_also_when_somebody_else_took_it_down(stack: str) -> None:
    with recording.of(stack, "tests"):
        leases.remove(stack)
    assert list((state_dir() / "recordings").iterdir()) == []


def test_half_a_line_of_a_killed_writer_is_left_out(stack: str) -> None:
    with recording.of(stack, "up"), (state_dir() / "recordings" / f"{stack}.jsonl").open("a") as file:
        file.write('\n{"time": 1, "type": "half')
        file.flush()
        recording.append(stack, "test", nodeid="next")
        kinds = {record["type"] for record in recording.read(stack)}
    assert {"session", "test"} <= kinds, "half a line spoils no other"
    assert "half" not in kinds


def test_it_is_bounded_and_keeps_the_newer(stack: str, docker: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "_HALF_BYTES", 2000)
    folder = state_dir() / "recordings"
    with recording.of(stack, "tests"):
        for number in range(200):
            recording.append(stack, "test", nodeid=str(number), text="x" * 50)
            time.sleep(0.001)

        def small() -> bool:
            return (folder / f"{stack}.jsonl").stat().st_size < 2000

        _until(small)
        kept = [int(test["nodeid"]) for test in _of("test")]
        in_newer = (folder / f"{stack}.jsonl").read_text().count("nodeid")
    assert kept == list(range(200 - len(kept), 200)), "the older are dropped, and none between"
    assert len(kept) > in_newer, "not all of it, when the newer half has just begun"
    assert sum(path.stat().st_size for path in folder.iterdir()) < 10_000
    recording.forget(stack)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    "trouble", [MachineError("no Docker engine answers"), AttributeError("what a test has replaced")]
)
def test_trouble_fails_nothing(
    stack: str, docker: FakeClient, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    tries = threading.Semaphore(0)

    def refuse() -> None:
        tries.release()
        raise trouble

    monkeypatch.setattr(connection, "connect", refuse)
    with recording.of(stack, "up"):
        for _ in range(3):
            assert tries.acquire(timeout=5), "it goes on trying"
        monkeypatch.setattr(connection, "connect", lambda: docker)
        docker.api.happen("die", "web-id", **{labels.SERVICE: "web"})
        _until(lambda: _of("event"))


def test_full_disk_fails_nothing(stack: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError("no space left on device")

    with recording.of(stack, "up"):
        monkeypatch.setattr(os, "write", refuse)
        recording.append(stack, "test", nodeid="a")
        monkeypatch.undo()


def test_beginning_and_ending_wait_for_nothing(stack: str, docker: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, answers, answered = threading.Event(), threading.Event(), threading.Event()

    def hang() -> FakeClient:
        asked.set()
        answers.wait(20)
        answered.set()
        return docker

    monkeypatch.setattr(connection, "connect", hang)
    started = time.perf_counter()
    with recording.of(stack, "up"):
        began = time.perf_counter() - started
        assert asked.wait(5)
        assert not answered.is_set(), "it was begun without an answer"
        started = time.perf_counter()
    assert not answered.is_set(), "it was ended without an answer"
    assert began + time.perf_counter() - started < 2
    answers.set()


def test_events_after_the_last_are_asked_for(stack: str, docker: FakeClient) -> None:
    second = 10**9
    now = time.time_ns()
    docker.api.past_events = [
        {"Action": "start", "Actor": {"ID": "1", "Attributes": {"name": f"at {at}"}}, "timeNano": now + at * second}
        for at in (-5, 0, 5)
    ]
    known = [{"type": "event", "time": now / second, "nanoseconds": now}]
    missed = recording.missed_events(docker, stack, known)
    assert [event["service"] for event in missed] == ["at 5"]
    everything = recording.missed_events(docker, stack, [])
    assert len(everything) == 3, "of what nobody recorded, all that the engine knows"
