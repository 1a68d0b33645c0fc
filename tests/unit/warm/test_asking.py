"""Starting the warm process, asking it, handing over to it; and doing without it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ephemera.home.paths import cache_dir
from ephemera.host.processes import ProcessId
from ephemera.warm import client, socket_address
from ephemera.warm.client import Forked
from tests.unit.processes import heard
from tests.unit.warm.asking import DEADLINE_SECONDS, PROGRAMS, begun, kill, run, server_pid, until_gone
from tests.unit.warm.conftest import Light

_ASKING = f"""
import sys; sys.path[:] = {sys.path!r}
from ephemera.warm import client
process = client.forked("{PROGRAMS}:wait", [], descriptors=(0, 1, 2), outlives=sys.argv[1] == "outlives")
print(process.pid, flush=True)
process.wait()
"""
_HANDING_OVER = f"""
import signal, sys; sys.path[:] = {sys.path!r}
from ephemera.warm import client
connected = client._connected
def early():
    for number in map(int, sys.argv[2:]):
        signal.raise_signal(number)
    return connected()
client._connected = early
code = client.handed_over("{PROGRAMS}:" + sys.argv[1], ["exit 3"])
print("without", flush=True)
sys.exit(42 if code is None else code)
"""


@contextmanager
def _process(code: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _pid_of_a_fork(asking: subprocess.Popen[str]) -> int:
    said = {heard(asking), heard(asking)}
    (pid,) = said - {"waiting"}
    return int(pid)


def test_fork_dies_with_who_asked_for_it(light: Light) -> None:
    light()
    with _process(_ASKING, "dies") as asking:
        pid = _pid_of_a_fork(asking)
        descriptor = os.pidfd_open(pid)
        asking.kill()
        until_gone(descriptor)


def test_fork_that_outlives_who_asked_for_it_goes_on(light: Light) -> None:
    light()
    with _process(_ASKING, "outlives") as asking:
        pid = _pid_of_a_fork(asking)
        fork = ProcessId.of(pid)
        descriptor = os.pidfd_open(pid)
        asking.kill()
        asking.wait()
        assert fork.alive()
        assert asking.stdin is not None
        asking.stdin.close()  # which it waits for the end of
        until_gone(descriptor)


def test_detached_program_outlives_and_says_what_it_says_in_its_log(light: Light, tmp_path: Path) -> None:
    light()
    module = tmp_path / "said.py"
    module.write_text("import os\ndef main(arguments):\n    print(arguments, os.getcwd())\n    return 6\n")
    log = tmp_path / "log"
    log.write_text("before\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))
        process = client.detached("said", ["a"], log)
    assert isinstance(process, Forked)
    assert process.wait(20) == 6
    assert log.read_text() == "before\n['a'] /\n"


@pytest.mark.parametrize("warm", [True, False])
def test_detached_program_is_a_process_of_its_own_either_way(light: Light, tmp_path: Path, warm: bool) -> None:
    if warm:
        light()
    log = tmp_path / "log"
    process = client.detached("ephemera.lifecycle.reaper", [], log)
    assert isinstance(process, Forked) is warm
    assert process.wait(30) == 0
    assert log.read_text() == ""


def _piped(files: Path, module: str, *arguments: str) -> tuple[Forked, str, str]:
    """A fork with a pipe that has ended, what it wrote there, and what it complained of."""
    (files / "request").write_text("hear")
    with (files / "request").open() as request, (files / "noise").open("w+") as noise:
        process = client.piped(module, arguments, environment={}, folder=str(files), request=request, noise=noise)
        assert isinstance(process, Forked)
        assert process.stdout is not None
        with process.stdout as out:
            said = out.read()
        process.wait(20)
        noise.seek(0)
        return process, said, noise.read()


def test_pipe_from_a_forks_output_ends_with_it(light: Light, tmp_path: Path) -> None:
    light()
    (tmp_path / "loud.py").write_text(
        "import sys\ndef main(arguments):\n    print(sys.stdin.read(), arguments, 'x' * 100000)\n    return 1 / 0\n"
    )
    process, said, noise = _piped(tmp_path, "loud", "a")
    assert said == f"hear ['a'] {'x' * 100000}\n"
    assert process.returncode == 1
    assert "ZeroDivisionError" in noise


def test_program_of_the_engine_imports_as_python_does_in_that_folder(
    light: Light, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    light()
    monkeypatch.setattr(sys, "path", [str(tmp_path / "tests"), *sys.path])
    (tmp_path / "mine.py").write_text("import sys\ndef main(arguments):\n    print(*sys.path, sep='\\n')\n")
    found = _piped(tmp_path, "mine")[1].splitlines()
    assert found[0] == str(tmp_path)
    assert str(tmp_path / "tests") not in found


# Signals to who handed over.


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_are_passed_on(light: Light, number: signal.Signals) -> None:
    light()
    with _process(_HANDING_OVER, "catch") as process:
        assert heard(process) == "waiting"
        process.send_signal(number)
        assert heard(process) == "without"
        assert process.wait(20) == number


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_before_the_fork_is_there_ends_it(light: Light, number: signal.Signals) -> None:
    light()
    with _process(_HANDING_OVER, "wait", str(int(number))) as process:
        assert process.wait(20) == 128 + number


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_is_not_lost_when_there_is_nobody_to_hand_over_to(number: signal.Signals) -> None:
    quiet = f"import sys; sys.stderr = open('{os.devnull}', 'w')\n{_HANDING_OVER}"
    with _process(quiet, "wait", str(int(number))) as process:
        assert process.wait(20) == -number


def test_exit_code_is_passed_on(light: Light) -> None:
    light()
    with _process(_HANDING_OVER, "end") as process:
        assert heard(process) == "before the end"
        assert process.wait(20) == 3


def test_nobody_to_hand_over_to() -> None:
    with _process(_HANDING_OVER, "end") as process:
        assert heard(process) == "without"
        assert process.wait(20) == 42


def test_handlers_are_put_back(light: Light) -> None:
    light()
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert client.handed_over(f"{PROGRAMS}:end", ["seven"]) == 7
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


# Starting it, and doing without it.


@pytest.fixture
def nobody_started(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No warm process is on its way; one that the test starts is ended."""
    monkeypatch.setattr(client, "_starting", None)
    yield
    if (pid := server_pid()) is not None:
        kill(pid)


def test_first_command_starts_one_and_waits_for_it_when_it_asks(nobody_started: None, tmp_path: Path) -> None:
    assert socket_address.connected(socket_address.fingerprint()) is None
    client.begin()
    assert run(tmp_path, "end", "seven").code == 7
    pid = server_pid()
    client.begin()
    assert client._starting is None, "there is one"
    assert server_pid() == pid


def test_one_that_was_killed_is_replaced_by_the_next_command(nobody_started: None, tmp_path: Path) -> None:
    client.begin()
    assert run(tmp_path, "end", "seven").code == 7
    first = server_pid()
    assert first is not None
    kill(first)
    deadline = time.monotonic() + DEADLINE_SECONDS
    # One that was just asked may have left a fork that has not let go of all yet.
    while server_pid() in (None, first):
        assert time.monotonic() < deadline
        client.begin()
        if (connection := client._connected()) is not None:
            connection.close()
    assert run(tmp_path, "end", "seven").code == 7


def test_one_that_fails_at_once_is_not_waited_for(
    nobody_started: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    interpreter = tmp_path / "python"
    interpreter.write_text("#!/bin/sh\nexit 1\n")
    interpreter.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(interpreter))
    client.begin()
    assert client.forked(f"{PROGRAMS}:end", ["seven"], descriptors=(0, 1, 2)) is None
    assert client._starting is None


def test_asked_to_do_without_it_is_neither_used_nor_started(
    light: Light, nobody_started: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    light()
    monkeypatch.setenv("EPHEMERA_WARM", "off")
    assert client.forked(f"{PROGRAMS}:end", ["seven"], descriptors=(0, 1, 2)) is None
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache_dir() / "other"))
    client.begin()
    assert client._starting is None
    assert not (cache_dir() / "warm").exists()


def test_cache_that_cannot_hold_it_is_no_error(nobody_started: None, monkeypatch: pytest.MonkeyPatch) -> None:
    (cache_dir() / "warm").write_text("in the way")
    client.begin()
    assert client._starting is None
    assert client.forked(f"{PROGRAMS}:end", ["seven"], descriptors=(0, 1, 2)) is None


def test_folder_that_is_gone_is_left_to_the_process_itself(
    light: Light, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    light()
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert client.forked(f"{PROGRAMS}:end", ["seven"], descriptors=(0, 1, 2)) is None


def test_closed_standard_output_is_left_to_the_process_itself(light: Light) -> None:
    light()
    reading, writing = os.pipe()
    os.close(reading)
    os.close(writing)
    assert client.forked(f"{PROGRAMS}:end", ["seven"], descriptors=(0, writing, 2)) is None


def test_request_that_is_too_large_for_a_packet_is_done_without(light: Light, tmp_path: Path) -> None:
    light()
    large = {"LARGE": "x" * 2_000_000}
    assert client.forked(f"{PROGRAMS}:end", ["seven"], descriptors=(0, 1, 2), environment=large) is None
    assert run(tmp_path, "end", "seven", environment={"LARGE": "x" * 100_000}).code == 7


def test_one_that_answers_nothing_is_done_without(
    light: Light, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with monkeypatch.context() as patch, _stopped(light()):
        patch.setattr(client, "_ANSWER_SECONDS", 0.1)
        assert client.forked(f"{PROGRAMS}:touch", [str(tmp_path / "made")], descriptors=(0, 1, 2)) is None
    assert run(tmp_path, "end", "seven").code == 7
    assert not (tmp_path / "made").exists(), "not when it goes on either"


@contextmanager
def _stopped(process: subprocess.Popen[bytes]) -> Iterator[None]:
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED)
    yield
    process.send_signal(signal.SIGCONT)


def test_signal_that_comes_while_the_end_is_read_takes_nothing_from_it(light: Light) -> None:
    light()
    with begun("wait") as fork:
        descriptor = os.pidfd_open(fork.process.pid)
        fork.into.close()
        until_gone(descriptor)
        fork.process.signal(signal.SIGTERM)  # as a handler would, before what came is read
        assert fork.process.wait(20) == 4
