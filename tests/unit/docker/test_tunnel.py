from __future__ import annotations

from pathlib import Path

import pytest

from ephemera.docker import tunnel
from ephemera.docker.tunnel import Login
from ephemera.model.errors import InputError, MachineError


@pytest.mark.parametrize(
    ("url", "login"),
    [
        ("ssh://build-box", Login(target="build-box", port=None, socket="/var/run/docker.sock")),
        ("ssh://me@Build.Example:2222/", Login(target="me@Build.Example", port=2222, socket="/var/run/docker.sock")),
        (
            "ssh://me@box/run/user/1000/docker.sock",
            Login(target="me@box", port=None, socket="/run/user/1000/docker.sock"),
        ),
        ("ssh://[2001:db8::1]:22", Login(target="2001:db8::1", port=22, socket="/var/run/docker.sock")),
    ],
)
def test_address_taken_apart(url: str, login: Login) -> None:
    assert Login.of(url) == login


@pytest.mark.parametrize(
    "url", ["ssh://", "ssh:///run/docker.sock", "ssh://me:secret@box", "ssh://box:no", "ssh://-oX"]
)
def test_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(InputError, match="is no SSH address"):
        Login.of(url)


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("Host key verification failed.", "connect once by hand with `ssh -p 7 box`"),
        ("me@box: Permission denied (publickey).", "load a key that it accepts with `ssh-add`"),
        ("ssh: connect to host box port 7: Connection refused", "try `ssh -p 7 box`"),
    ],
)
def test_why_a_login_failed(said: str, remedy: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(f"Warning: something\n{said}\r\n")
    error = tunnel.why(Login(target="box", port=7, socket="/s"), log)
    assert error.message == f"ssh cannot log in to box ({said})"
    assert remedy in error.remedy


def test_login_that_said_nothing(tmp_path: Path) -> None:
    error = tunnel.why(Login(target="box", port=None, socket="/s"), tmp_path / "none")
    assert "no answer within 3 s" in error.message


def test_folder_is_this_users_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tunnel, "_LONGEST_FOLDER", 200)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert tunnel.folder() == tmp_path / "ephemera"
    assert tunnel.folder().stat().st_mode & 0o777 == 0o700
    (tmp_path / "ephemera").chmod(0o755)
    with pytest.raises(MachineError, match="is not this user's alone"):
        tunnel.folder()


def test_folder_lies_where_others_cannot_exchange_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tunnel, "_LONGEST_FOLDER", 200)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    tmp_path.chmod(0o777)
    with pytest.raises(MachineError, match=r"is open to other users .*set XDG_RUNTIME_DIR"):
        tunnel.folder()


def test_folder_is_short_enough_for_a_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("deep" * 20)
    deep.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    assert len(str(tunnel.folder())) < 40


def test_connection_is_no_part_of_the_run_that_opened_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EPHEMERA_ENGINE_OF", "x/y")
    monkeypatch.setenv("SSH_AUTH_SOCK", "/agent")
    given = tunnel.ssh_environment()
    assert given["SSH_AUTH_SOCK"] == "/agent"
    assert not [key for key in given if key.startswith("EPHEMERA_")]
