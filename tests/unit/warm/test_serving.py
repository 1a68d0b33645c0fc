"""What the warm process answers, how long it is there, and which processes it is there for."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from ephemera.host.sockets import short_path
from ephemera.warm import client, server, socket_address
from tests.unit.warm.asking import PROGRAMS, begun, run, server_pid, until_gone
from tests.unit.warm.conftest import Light


@contextmanager
def _connection() -> Iterator[socket.socket]:
    connection = socket_address.connected(socket_address.fingerprint())
    assert connection is not None
    with connection:
        connection.settimeout(20)
        yield connection


def _request(**different: Any) -> bytes:
    fields = {"program": f"{PROGRAMS}:touch", "name": "x", "arguments": [], "environment": {}, "folder": "/"}
    return json.dumps({**fields, "path": sys.path, "umask": 0o022, "outlives": False, **different}).encode()


def _answer(connection: socket.socket, message: bytes, *, descriptors: int = 3) -> bytes:
    """What comes after that; nothing, when the other end has hung up."""
    with suppress(ConnectionError):
        socket.send_fds(connection, [message], [0, 1, 2][:descriptors])
        return connection.recv(100)
    return b""


def _served(tmp_path: Path) -> bool:
    return run(tmp_path, "end", "seven").code == 7


def test_request_that_is_given_up_before_its_second_message_runs_nothing(light: Light, tmp_path: Path) -> None:
    light()
    request = _request(arguments=[str(tmp_path / "made")], outlives=True)
    with _connection() as connection:
        descriptor = os.pidfd_open(json.loads(_answer(connection, request))["pid"])
    until_gone(descriptor)
    assert not (tmp_path / "made").exists()
    with _connection() as connection:
        _answer(connection, request)
        connection.sendall(client.GO)
        assert json.loads(connection.recv(100)) == {"exit": 0}
    assert (tmp_path / "made").exists(), "with it, it does"


@pytest.mark.parametrize("message", [b"no JSON", b"\xff", b'{"program": '])
def test_garbage_is_not_answered_and_others_are(light: Light, tmp_path: Path, message: bytes) -> None:
    light()
    with _connection() as connection:
        assert _answer(connection, message) == b""
    assert _served(tmp_path)


@pytest.mark.parametrize("descriptors", [0, 1, 2])
def test_request_without_its_three_descriptors_is_not_answered(light: Light, tmp_path: Path, descriptors: int) -> None:
    light()
    with _connection() as connection:
        assert _answer(connection, _request(), descriptors=descriptors) == b""
    assert _served(tmp_path)


def test_one_that_connects_and_says_nothing_keeps_nobody_waiting(light: Light, tmp_path: Path) -> None:
    light(_REQUEST_SECONDS=10)
    started = time.monotonic()
    with _connection(), _connection():
        assert _served(tmp_path)
    assert time.monotonic() - started < 5


def test_one_that_says_nothing_is_hung_up_on(light: Light) -> None:
    light(_REQUEST_SECONDS=0.1)
    with _connection() as connection:
        assert connection.recv(1) == b""


def test_another_users_process_is_not_talked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = socket.socketpair()
    with ends[0], ends[1]:
        socket_address.check_peer(ends[0])
        monkeypatch.setattr(os, "getuid", lambda: 4711)
        with pytest.raises(PermissionError):
            socket_address.check_peer(ends[0])


def test_warm_process_of_another_user_is_not_asked(light: Light, monkeypatch: pytest.MonkeyPatch) -> None:
    light()
    assert server_pid() is not None
    monkeypatch.setattr(os, "getuid", lambda: 4711)
    assert socket_address.connected(socket_address.fingerprint()) is None


def test_only_one_of_a_fingerprint_serves(light: Light, tmp_path: Path) -> None:
    first = light()
    second = light()
    assert second.wait(20) == 0
    assert server_pid() == first.pid
    assert _served(tmp_path)


def test_folder_and_socket_are_for_the_user_alone(light: Light) -> None:
    light()
    assert socket_address.folder().stat().st_mode & 0o777 == 0o700
    (path,) = socket_address.folder().glob("*.socket")
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_a_killed_one_left_is_tidied_by_the_next(
    light: Light, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = light()
    monkeypatch.setenv("OTEL_SERVICE_NAME", "other")
    other = light()
    monkeypatch.setenv("OTEL_SERVICE_NAME", "third")
    killed.kill()
    killed.wait()
    third = light()
    left = sorted(path.name for path in socket_address.folder().iterdir())
    assert len([name for name in left if name.endswith(".socket")]) == 2
    assert server_pid() == third.pid
    monkeypatch.setenv("OTEL_SERVICE_NAME", "other")
    assert server_pid() == other.pid
    assert _served(tmp_path)


def test_fork_of_a_killed_one_goes_on_and_the_next_serves(light: Light, tmp_path: Path) -> None:
    first = light()
    with begun("wait") as fork:
        first.kill()
        first.wait()
        assert socket_address.connected(socket_address.fingerprint()) is None
        second = light()
        assert server_pid() == second.pid, "a fork does not hold what only the warm process has"
        assert _served(tmp_path)
        assert fork.process.returncode is None
        fork.into.close()
        assert fork.process.wait(20) == 4


def test_one_that_is_not_used_ends_and_leaves_nothing(light: Light) -> None:
    process = light(_IDLE_SECONDS=0.2, _LOOK_SECONDS=0.05)
    assert process.wait(20) == 0
    assert not list(socket_address.folder().glob("*.socket"))


def test_one_that_is_used_does_not_end(light: Light, tmp_path: Path) -> None:
    process = light(_IDLE_SECONDS=1.0, _LOOK_SECONDS=0.05)
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        assert _served(tmp_path)
    assert process.poll() is None


def test_one_whose_fingerprint_has_changed_ends(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(server, "_LOOK_SECONDS", 0.05)
    changed = threading.Event()
    monkeypatch.setattr(socket_address, "fingerprint", lambda: "now" if changed.is_set() else "before")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        with short_path(tmp_path / "sock") as path:
            listener.bind(path)
        listener.listen()
        serving = threading.Thread(target=server._serve, args=(listener, "before"))
        serving.start()
        serving.join(0.2)
        assert serving.is_alive()
        changed.set()
        serving.join(20)
        assert not serving.is_alive()


def test_forks_that_have_ended_are_no_zombies(light: Light, tmp_path: Path) -> None:
    process = light()
    for _ in range(3):
        assert _served(tmp_path)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    deadline = time.monotonic() + 20
    while children.read_text():
        assert time.monotonic() < deadline


@pytest.mark.parametrize("name", ["PYTHONHASHSEED", "LANG", "LD_PRELOAD", "GRPC_TRACE"])
def test_variable_that_is_read_at_start_makes_another_fingerprint(
    light: Light, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    light()
    assert _served(tmp_path)
    monkeypatch.setenv(name, "1")
    assert socket_address.connected(socket_address.fingerprint()) is None
    monkeypatch.delenv(name)


def test_other_variables_make_none(monkeypatch: pytest.MonkeyPatch) -> None:
    before, started_with = socket_address.fingerprint(), socket_address.environment()
    for name in ("EPHEMERA_BRANCH", "XDG_STATE_HOME", "TERM", "COLUMNS", "DOCKER_HOST", "PATH", "HOMEBREW_TOKEN"):
        monkeypatch.setenv(name, "other")
    monkeypatch.setenv("PULUMI_ENABLE_LEGACY_APPLY", "true")  # it is read at import, and not obeyed
    assert socket_address.fingerprint() == before
    assert socket_address.environment() == started_with


@pytest.mark.parametrize(
    ("file", "line", "other"),
    [
        ("status", "Groups:", "Groups:\t4711"),
        ("status", "Uid:", "Uid:\t4711\t4711\t4711\t4711"),
        ("status", "CapEff:", "CapEff:\t0"),
        ("status", "NoNewPrivs:", "NoNewPrivs:\t1"),
        ("limits", "Max open files", "Max open files 7 7 files"),
    ],
)
def test_other_rights_and_limits_make_another_fingerprint(
    monkeypatch: pytest.MonkeyPatch, file: str, line: str, other: str
) -> None:
    before, real = socket_address.fingerprint(), socket_address._of_this_process
    assert any(found.startswith(line) for found in real(file))

    def told(asked: str) -> list[str]:
        return [other if found.startswith(line) else found for found in real(asked)] if asked == file else real(asked)

    monkeypatch.setattr(socket_address, "_of_this_process", told)
    assert socket_address.fingerprint() != before


def test_limits_of_a_process_are_its_forks_too(light: Light) -> None:
    import resource

    light()
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    lower = 4096 if soft != 4096 else 8192
    resource.setrlimit(resource.RLIMIT_CORE, (lower, hard))
    try:
        assert socket_address.connected(socket_address.fingerprint()) is None
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))


def test_installed_packages_that_have_changed_make_another_fingerprint(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.setattr(sys, "path", [*sys.path, str(folder)])
    before = socket_address.fingerprint()
    os.utime(folder, (1, 1))
    assert socket_address.fingerprint() != before
    folder.rmdir()
    assert socket_address.fingerprint() != before


def test_source_of_ephemera_that_has_changed_makes_another_fingerprint(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "room" / "__pycache__").mkdir(parents=True)
    module = tmp_path / "room" / "module.py"
    for path in (tmp_path / "__init__.py", module):
        path.touch()
    monkeypatch.setattr(socket_address, "_SOURCE", tmp_path)
    seen = [socket_address.fingerprint()]
    (tmp_path / "room" / "__pycache__" / "module.py").touch()
    assert socket_address.fingerprint() == seen[0]
    os.utime(module, (1, 1))
    seen.append(socket_address.fingerprint())
    (tmp_path / "new.py").touch()
    seen.append(socket_address.fingerprint())
    module.unlink()
    seen.append(socket_address.fingerprint())
    assert len(set(seen)) == 4


def test_source_that_goes_while_it_is_looked_at_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "__init__.py").symlink_to(tmp_path / "gone")
    monkeypatch.setattr(socket_address, "_SOURCE", tmp_path)
    socket_address.fingerprint()


def test_umask_is_told_without_being_set() -> None:
    mask = os.umask(0o027)
    try:
        assert socket_address.umask() == 0o027
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(mask)


def test_deep_folder_is_no_hindrance(light: Light, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path.joinpath(*["a" * 40] * 4)
    assert len(str(deep)) > 108
    monkeypatch.setenv("XDG_CACHE_HOME", str(deep))
    light()
    assert _served(tmp_path)
