"""A fork is the program that was asked for, and has nothing of the process that it came from."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from ephemera.warm import socket_address
from tests.unit.warm.asking import begun, run

_FRESH = f"import sys; sys.path[:] = {sys.path!r}; from tests.unit.warm import programs; programs.describe([])"


def _described(files: Path, *arguments: str, **how: Any) -> Any:
    done = run(files, "describe", *arguments, **how)
    assert (done.code, done.err) == (0, "")
    return json.loads(done.out)


def test_it_gets_what_it_was_asked_for_with(warm: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/bin/asking"])
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    environment = {"ONE": "1", "NOT_UTF_8": os.fsdecode(b"\xff"), "TZ": "Asia/Tokyo"}
    mask = os.umask(0o027)
    try:
        found = _described(tmp_path, "a", "ä b", said="hear", environment=environment, folder=str(tmp_path))
    finally:
        os.umask(mask)
    assert found["arguments"] == ["a", "ä b"]
    assert found["argv"] == ["/bin/asking", "a", "ä b"]
    assert found["environment"] == environment
    assert found["zone"] == "JST"
    assert found["folder"] == str(tmp_path)
    assert found["path"] == sys.path
    assert found["umask"] == 0o027
    assert found["standard_input"] == "hear"


def test_it_has_this_process_environment_and_folder_when_nothing_else_is_said(
    warm: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OF_MINE", "yes")
    found = _described(tmp_path)
    assert found["environment"] == dict(os.environ)
    assert found["folder"] == str(tmp_path)


def test_it_is_as_an_interpreter_that_has_just_started(
    warm: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # A child ignores what this process does, such as the terminal's signals in a shell's background.
    ours = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)}
    try:
        fresh = subprocess.run(
            [sys.executable, "-c", _FRESH],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=True,
            start_new_session=True,
            timeout=60,
            restore_signals=True,
        )
    finally:
        for number, handler in ours.items():
            signal.signal(number, handler)
    expected, found = json.loads(fresh.stdout), _described(tmp_path)
    for same in ("signals", "blocked", "session", "temporary", "streams", "umask", "zone"):
        assert found[same] == expected[same], same
    assert found["session"]


def test_it_holds_no_descriptor_but_its_own(warm: int, tmp_path: Path) -> None:
    found = _described(tmp_path)["descriptors"]
    streams = [str(tmp_path / name) for name in ("stdin", "stdout", "stderr")]
    assert [found.pop(number) for number in "012"] == streams
    targets = sorted(target for target in found.values() if target)
    assert len(targets) == 1, targets
    assert targets[0].startswith("socket:"), "to who asked for it"


def test_temporary_folder_is_its_own(warm: int, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        found = _described(tmp_path, environment={"TMPDIR": str(tmp_path / name)})
        assert found["temporary"] == str(tmp_path / name)


def test_signals_that_whoever_started_the_warm_process_ignored_reach_it(light: Any, tmp_path: Path) -> None:
    ignored = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGHUP)}
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        light()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        for number, handler in ignored.items():
            signal.signal(number, handler)
    found = _described(tmp_path)
    assert "default_int_handler" in found["signals"]["SIGINT"]
    assert found["signals"]["SIGHUP"] == str(signal.SIG_DFL)
    assert found["blocked"] == []


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ("seven", 7),
        ("nothing", 0),
        ("exit 3", 3),
        ("exit", 0),
        ("exit with a text", 1),
        ("exception", 1),
        ("Ctrl-C", 130),
        ("at once", -9),
        ("killed", -9),
    ],
)
def test_exit_code(warm: int, tmp_path: Path, how: str, code: int) -> None:
    done = run(tmp_path, "end", how)
    assert done.code == code
    assert done.out == ("before the end\n" if how != "killed" else "")
    if how == "exception":
        assert done.err.startswith("Traceback")
        assert "JSONDecodeError" in done.err
    else:
        assert done.err == ("it was all too much\n" if how == "exit with a text" else "")


@pytest.mark.parametrize("size", [0, 1, 1 << 20])
def test_output_is_whole(warm: int, tmp_path: Path, size: int) -> None:
    done = run(tmp_path, "write", str(size))
    assert (done.code, len(done.out)) == (0, size)


def test_output_that_nobody_reads_any_more_is_no_error(warm: int) -> None:
    from ephemera.warm import client

    reading, writing = os.pipe()
    os.close(reading)
    with Path(os.devnull).open("r+") as nothing:
        process = client.forked(
            "tests.unit.warm.programs:write", ["1000"], descriptors=(nothing.fileno(), writing, nothing.fileno())
        )
    os.close(writing)
    assert process is not None
    assert process.wait(20) == 0


def test_thirty_at_once(warm: int, tmp_path: Path) -> None:
    def ask(number: int) -> tuple[int, str]:
        folder = tmp_path / str(number)
        folder.mkdir()
        done = run(folder, "end", "seven", environment={"NUMBER": str(number)})
        return done.code, done.out

    with ThreadPoolExecutor(30) as pool:
        assert list(pool.map(ask, range(30))) == [(7, "before the end\n")] * 30


def test_running_one_is_told_from_one_that_has_ended(warm: int) -> None:
    with begun("wait") as fork:
        with pytest.raises(subprocess.TimeoutExpired):
            fork.process.wait(0.01)
        fork.into.close()
        assert fork.process.wait(20) == 4
        assert fork.process.wait() == 4
        fork.process.signal(signal.SIGKILL)  # of nobody
    with begun("catch") as fork:
        fork.process.signal(signal.SIGTERM)
        assert fork.process.wait(20) == signal.SIGTERM


def test_warm_process_can_be_forked_safely(warm: int) -> None:
    assert len(list(Path(f"/proc/{warm}/task").iterdir())) == 1
    deadline = time.monotonic() + 20
    while _sockets(warm) > 1:  # the one that it is asked through; who has just asked may not be hung up on yet
        assert time.monotonic() < deadline


def _sockets(pid: int) -> int:
    targets = []
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            targets.append(path.readlink().name)
    return sum(target.startswith("socket:") for target in targets)


def test_warm_process_knows_nothing_of_who_started_it(warm: int) -> None:
    variables = Path(f"/proc/{warm}/environ").read_bytes().split(b"\0")
    names = {variable.partition(b"=")[0].decode() for variable in variables if variable}
    assert all(name in socket_address._PLACES or name.startswith(socket_address._READ_AT_START) for name in names), (
        names
    )
    assert Path(f"/proc/{warm}/cwd").readlink() == Path("/")
    assert os.getsid(warm) == warm


_READS = """
import importlib, os, sys
from ephemera.warm import server
found, of = set(), type(os.environ)
real = of.__getitem__
def noting(self, name):
    found.add(name)
    return real(self, name)
of.__getitem__ = noting  # which all else is made of
of.__contains__ = lambda self, name: self.get(name) is not None
for module in server._MODULES:
    importlib.import_module(module)
print(*sorted(found))
"""
# Of the interpreter's build, its user's packages (which are in its path), a documentation tool, and names of folders
# for files of a run that are asked for again.
_HARMLESS = {
    "HOME",
    "TMPDIR",
    "TEMP",
    "TMP",
    "PARVER_SPHINX_BUILD",
    "_PYTHON_PROJECT_BASE",
    "_PYTHON_SYSCONFIGDATA_NAME",
    # Of Pulumi's, none reaches it.
    "PULUMI_ENABLE_LEGACY_APPLY",
    "PULUMI_OTEL_EXPORTER_OTLP_ENDPOINT",
}


def test_all_that_imports_read_from_the_environment_is_part_of_the_fingerprint() -> None:
    done = subprocess.run([sys.executable, "-c", _READS], capture_output=True, text=True, timeout=60, check=True)
    read = set(done.stdout.split())
    assert "TYPER_USE_RICH" in read, "it is watched"
    assert {name for name in read if not name.startswith(socket_address._READ_AT_START)} <= _HARMLESS


def test_only_thread_beside_the_program_is_the_one_that_watches_who_asked(warm: int, tmp_path: Path) -> None:
    assert _described(tmp_path)["threads"] == ["MainThread", "asked-for"]
    assert _described(tmp_path, outlives=True)["threads"] == ["MainThread"]
