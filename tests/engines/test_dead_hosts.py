"""An engine that is not to be had: one clear line and exit code 5 within 5 s of the command, whatever is dead."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import pytest

from ephemera.docker.ports import free_port

from .conftest import Ephemera, Remote
from .person import Person

_SECONDS = 5.0
_COMMANDS = {"ls": ["ls"], "up": ["up", "web"]}


@contextmanager
def _nobody(folder: Path) -> Iterator[str]:
    yield f"unix://{folder}/docker.sock"


@contextmanager
def _left_behind(folder: Path) -> Iterator[str]:
    """A socket file whose engine has died."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{folder}/docker.sock")
    yield f"unix://{folder}/docker.sock"


@contextmanager
def _silent(folder: Path) -> Iterator[str]:
    """It accepts, and never answers."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{folder}/docker.sock")
        listener.listen()
        yield f"unix://{folder}/docker.sock"


@contextmanager
def _refusing(_: Path) -> Iterator[str]:
    yield f"tcp://127.0.0.1:{free_port('127.0.0.1')}"


@contextmanager
def _black_hole() -> Iterator[int]:
    """A port whose backlog is full: what is sent there is dropped, and nothing comes back."""
    with ExitStack() as opened, socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port: int = listener.getsockname()[1]
        while True:
            caller = opened.enter_context(socket.socket())
            caller.settimeout(0.2)
            try:
                caller.connect(("127.0.0.1", port))
            except TimeoutError:
                break
        yield port


@contextmanager
def _dropping(_: Path) -> Iterator[str]:
    with _black_hole() as port:
        yield f"tcp://127.0.0.1:{port}"


@contextmanager
def _ssh_refusing(_: Path) -> Iterator[str]:
    yield f"ssh://127.0.0.1:{free_port('127.0.0.1')}"


@contextmanager
def _ssh_dropping(_: Path) -> Iterator[str]:
    with _black_hole() as port:
        yield f"ssh://127.0.0.1:{port}"


@contextmanager
def _ssh_silent(_: Path) -> Iterator[str]:
    """It accepts the connection, and never says that it speaks SSH."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield f"ssh://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize(
    ("command", "dead", "said", "remedy"),
    [
        ("ls", _nobody, "no Docker engine answers at {url} (", "start it"),
        ("ls", _left_behind, "no Docker engine answers at {url} (", "start it"),
        ("ls", _silent, "no Docker engine answers at {url} ", "start it"),
        ("up", _silent, "no Docker engine answers at {url} ", "start it"),
        ("up", _refusing, "no Docker engine answers at {url} (", "start it"),
        ("ls", _dropping, "no Docker engine answers at {url} ", "start it"),
        ("up", _dropping, "no Docker engine answers at {url} ", "start it"),
        ("up", _ssh_refusing, "ssh cannot log in to 127.0.0.1 (", "try `ssh -p "),
        ("up", _ssh_dropping, "ssh cannot log in to 127.0.0.1 (", "try `ssh -p "),
        ("ls", _ssh_silent, "ssh cannot log in to 127.0.0.1 (", "try `ssh -p "),
        ("up", _ssh_silent, "ssh cannot log in to 127.0.0.1 (", "try `ssh -p "),
    ],
    ids=lambda value: value.__name__.strip("_") if callable(value) else value if value in _COMMANDS else "",
)
def test_is_told_within_5_seconds(
    ephemera: Ephemera,
    short_folder: Path,
    command: str,
    dead: Callable[[Path], AbstractContextManager[str]],
    said: str,
    remedy: str,
) -> None:
    with dead(short_folder) as url:
        started = time.monotonic()
        done = ephemera(*_COMMANDS[command], DOCKER_HOST=url, XDG_RUNTIME_DIR=str(short_folder))
        seconds = time.monotonic() - started
    assert done.code == 5, done.err
    assert said.format(url=url) in done.err
    assert remedy in done.err
    assert done.err.count("ephemera: ") == 1
    assert "Traceback" not in done.err
    assert seconds < _SECONDS, done.err
    assert ephemera.left() == []


def test_without_ssh(ephemera: Ephemera, short_folder: Path) -> None:
    nowhere = str(short_folder)
    done = ephemera("ls", DOCKER_HOST="ssh://build-box", PATH=nowhere, XDG_RUNTIME_DIR=nowhere)
    assert done.code == 5
    assert "ssh is not installed, and the Docker engine is at build-box: install OpenSSH's client" in done.err


def test_host_key_that_is_not_known(away: Ephemera, remote: Remote) -> None:
    remote.configure(known="nobody")
    done = away("ls")
    assert done.code == 5
    assert "Host key verification failed" in done.err
    assert "connect once by hand with `ssh build-box` and check its host key" in done.err


def test_key_that_is_not_accepted(away: Ephemera, remote: Remote) -> None:
    remote.configure(identity="stranger")
    done = away("ls")
    assert done.code == 5
    assert "Permission denied (publickey)" in done.err
    assert "load a key that it accepts with `ssh-add`" in done.err


def test_machine_without_docker(away: Ephemera) -> None:
    url = "ssh://build-box/run/nobody/docker.sock"
    started = time.monotonic()
    done = away("up", "web", DOCKER_HOST=url)
    assert done.code == 5
    assert "there is no /run/nobody/docker.sock on build-box: start Docker there" in done.err
    assert time.monotonic() - started < _SECONDS


def test_user_who_may_not_use_the_engine_over_there(away: Ephemera, remote: Remote, user: Person) -> None:
    remote.configure(user=user.entry.pw_name)
    done = away("ls")
    assert done.code == 5
    socket_file = remote.engine.host.removeprefix("unix://")
    assert f"the user that ssh logs in as may not use {socket_file} on build-box" in done.err
    assert "add it to the docker group over there" in done.err
