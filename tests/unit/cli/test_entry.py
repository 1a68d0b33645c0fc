"""A command says the same, byte for byte, whether it runs in a fork of the warm process or in a process of its own."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.unit.warm.asking import kill

_PROJECT = Path(__file__).parents[2] / "driver" / "project"
_DEADLINE_SECONDS = 60
_COMMAND = [sys.executable, "-m", "ephemera"]
_BEGIN = f"""
import sys; sys.path[:] = {sys.path!r}
from ephemera.warm import client
from tests.unit.warm.asking import server_pid
client.begin()
connection = client._connected()
print(server_pid())
"""
_ESCAPE = re.compile("\x1b[^m]*m")
_SURROUNDINGS = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "TERM", "GITHUB_ACTIONS", "PYTHONUNBUFFERED")


Servers = dict[str, int]


@dataclass(frozen=True)
class Said:
    """What a command came to."""

    code: int
    out: bytes
    err: bytes = b""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    """Warm processes that tests have started, by the variables that they were asked with; ended with the module."""
    started: Servers = {}
    yield started
    for pid in set(started.values()):
        kill(pid)


@pytest.fixture(autouse=True)
def _own_surroundings(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the small project, without a Docker engine, and nothing said by this run's terminal or CI."""
    monkeypatch.chdir(_PROJECT)
    for name in _SURROUNDINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{cache}/no.sock")
    monkeypatch.setenv("EPHEMERA_BRANCH", "main")


def _make_warm(servers: Servers, **variables: str) -> None:
    asked = str(variables)
    if asked in servers:
        return
    done = subprocess.run(
        [sys.executable, "-c", _BEGIN], env={**os.environ, **variables}, capture_output=True, text=True, check=True
    )
    servers[asked] = int(done.stdout)


def _piped(*arguments: str, **variables: str) -> Said:
    done = subprocess.run(
        [*_COMMAND, *arguments],
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=_DEADLINE_SECONDS,
        check=False,
    )
    return Said(done.returncode, done.stdout, done.stderr)


def _in_a_terminal(columns: int, *arguments: str, **variables: str) -> Said:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 40, columns, 0, 0))
    with subprocess.Popen(
        [*_COMMAND, *arguments], env={**os.environ, **variables}, stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        out = b""
        while more := _read(ours):
            out += more
        os.close(ours)
        return Said(process.wait(_DEADLINE_SECONDS), out)


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # nobody has it open any more
        return b""


_LOCALES: list[dict[str, str]] = [{}, {"LANG": "C"}, {"LC_ALL": "C"}]


@pytest.mark.parametrize(
    ("arguments", "code", "variables"),
    [
        (("--help",), 0, {}),
        (("ls",), 5, {}),
        (("ls", "--help"), 0, {}),
        (("ls", "--output", "json"), 5, {}),
        (("up", "--hepl"), 2, {}),
        (("up", "--hepl", "--output", "json"), 2, {}),
        (("up", "web", "--help"), 0, {"COLUMNS": "51"}),
        (("nope",), 2, {}),
        *((("up", "wéb → 試"), 2, locale) for locale in _LOCALES),
        *((("up", os.fsdecode(b"w\xff")), 2, locale) for locale in _LOCALES),
        (("up", "wéb", "--output", "json"), 2, {"LC_ALL": "C"}),
    ],
    ids=ascii,
)
def test_same_output(servers: Servers, arguments: tuple[str, ...], code: int, variables: dict[str, str]) -> None:
    cold = _piped(*arguments, **variables, EPHEMERA_WARM="off")
    _make_warm(servers, **variables)
    assert _piped(*arguments, **variables) == cold
    assert cold.code == code


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [
        (("up", "nope"), {"TERM": "xterm-256color"}),
        (("up", "--help"), {"TERM": "xterm-256color"}),
        (("up", "--help"), {"TERM": "dumb"}),
        (("up", "--help"), {"TERM": "xterm", "NO_COLOR": "1"}),
        (("up", "--help"), {"TERM": "xterm", "COLUMNS": "70"}),
        (("up", "--help"), {"TERMINAL_WIDTH": "50", "FORCE_COLOR": "1"}),
        (("up", "--help"), {}),
    ],
    ids=str,
)
def test_same_output_in_a_terminal(servers: Servers, arguments: tuple[str, ...], variables: dict[str, str]) -> None:
    cold = _in_a_terminal(60, *arguments, **variables, EPHEMERA_WARM="off")
    _make_warm(servers)
    assert _in_a_terminal(60, *arguments, **variables) == cold
    assert cold.out


def test_terminal_is_the_one_that_asks(servers: Servers) -> None:
    _make_warm(servers)
    plain = _in_a_terminal(60, "up", "--help", TERM="xterm", NO_COLOR="1").out
    coloured = _in_a_terminal(60, "up", "--help", TERM="xterm").out
    wide = _in_a_terminal(130, "up", "--help", TERM="xterm").out.decode()
    assert b"\x1b[1;33m" in coloured
    assert b"\x1b[1;33m" not in plain
    assert max(len(_ESCAPE.sub("", line)) for line in wide.splitlines()) == 130


_WHERE = """
import sys
sys.argv[0] = "ephemera"
from ephemera.cli import entry
try:
    entry.main()
finally:
    print("typer" in sys.modules, file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("command", "here"),
    [("ls", False), ("up", False), ("down", False), ("run", True), ("shell", True), ("--help", True)],
)
def test_where_a_command_runs(servers: Servers, command: str, here: bool) -> None:
    _make_warm(servers)
    done = subprocess.run(
        [sys.executable, "-c", _WHERE, command, "--help"],
        capture_output=True,
        text=True,
        timeout=_DEADLINE_SECONDS,
        check=False,
    )
    assert done.returncode == 0
    assert done.stderr == f"{here}\n"
    assert "Usage: ephemera" in done.stdout
