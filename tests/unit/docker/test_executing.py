from __future__ import annotations

import signal
import socket
from typing import Any

import pytest

from ephemera.docker import executing
from ephemera.docker.executing import MARK, Execution
from ephemera.docker.streams import STDERR, STDOUT
from tests.unit.doubles import FakeApi, FakeClient, frame


class Engine(FakeApi):
    """Its command ``serve`` goes on until it is signalled from within its container; ``deaf``: only SIGKILL ends it."""

    def __init__(self, *, deaf: bool = False, shell: bool = True) -> None:
        super().__init__()
        self.near, self.far = socket.socketpair()
        self.signals: list[str] = []
        self.running = True
        self.environment: list[str] = []
        self._deaf = deaf
        self._shell = shell

    def exec_create(self, container: str, command: list[str], **given: Any) -> dict[str, str]:
        if command[0] != "sh":
            self.environment = list(given.get("environment", ()))
            return {"Id": "serve"}
        assert self.environment == [command[-2]], "what carries the mark is meant"
        assert not given, "what ends it carries none"
        return {"Id": command[-1]}

    def exec_start(self, execution: str, *, socket: bool = False, detach: bool = False) -> Any:
        if execution == "serve":
            return self.near
        assert detach
        self.signals.append(execution)
        if not self._deaf or execution == "KILL":
            self.running = False
            self.far.sendall(frame(STDERR, b"bye"))
            self.far.close()
        return b""

    def exec_inspect(self, execution: str) -> dict[str, Any]:
        return {"Running": self.running, "ExitCode": None if self.running else 7, "Pid": 1}


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executing, "_GRACE_SECONDS", 0.05)


def _serve(engine: Engine) -> Execution:
    return Execution(FakeClient(engine), "web-id", ["serve"], None, marked=True)


@pytest.mark.parametrize(("deaf", "signals"), [(False, ["INT"]), (True, ["INT", "KILL"])])
def test_it_is_ended_by_the_signal_or_by_force(deaf: bool, signals: list[str]) -> None:
    engine = Engine(deaf=deaf)
    execution = _serve(engine)
    said: list[tuple[int, bytes]] = []
    assert execution.end(signal.SIGINT, lambda *part: said.append(part))
    assert engine.signals == signals
    assert said == [(STDERR, b"bye")], "its last words are shown"
    execution.close()


def test_exit_code_is_waited_for_when_only_the_streams_have_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine()
    execution = _serve(engine)
    engine.far.sendall(frame(STDOUT, b"out"))
    engine.far.close()
    monkeypatch.setattr("time.sleep", lambda _: setattr(engine, "running", False))
    said: list[tuple[int, bytes]] = []
    assert execution.run(lambda *part: said.append(part)) == 7
    assert said == [(STDOUT, b"out")]
    execution.close()


def test_command_that_cannot_be_started_is_a_refusal_and_no_output(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine()
    execution = _serve(engine)
    monkeypatch.setattr(engine, "exec_inspect", lambda _: {"Running": False, "ExitCode": 126, "Pid": 0})
    engine.far.sendall(frame(STDOUT, b'OCI runtime exec failed: exec: "nosuch": not found\r\n'))
    engine.far.close()
    said: list[tuple[int, bytes]] = []
    assert execution.run(lambda *part: said.append(part)) == 126
    assert (said, execution.refusal) == ([], 'exec: "nosuch": not found')
    execution.close()


def test_only_what_is_to_be_ended_carries_a_mark() -> None:
    engine = Engine()
    execution = Execution(FakeClient(engine), "web-id", ["serve"], None)
    assert engine.environment == []
    execution.close()
    engine.far.close()
    marked = Engine()
    execution = _serve(marked)
    (mark,) = marked.environment
    assert mark.startswith(f"{MARK}=")
    execution.close()
    marked.far.close()
