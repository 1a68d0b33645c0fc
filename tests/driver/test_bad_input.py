"""Bad input: one clear line and exit code 2, before anything is created."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from .conftest import Ephemera


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["up", "wob"], "unknown system 'wob': did you mean 'web'?"),
        (["up", "web", "-c", "readyseconds=3"], "did you mean 'ephemera:ready_seconds'?"),
        (["up", "web", "-c", "ready_seconds=soon"], "ephemera:ready_seconds is 'soon': it must be of type integer"),
        (["up", "web", "-c", "behaviour"], "--config 'behaviour' is not valid: give it as KEY=VALUE"),
        (["up", "web", "--branch", "  "], "the branch name is empty"),
        (["up", "web", "--only", "wep"], "unknown service 'wep': did you mean 'web'?"),
        (["up", "web", "--profile", "extras"], "unknown profile 'extras': did you mean 'extra'?"),
        (["up", "web", "--expose", "public"], "ephemera:expose is 'public'"),
        (
            ["up", "web", "--expose", "fixed", "--port-table", "tests"],
            "unknown port table 'tests': did you mean 'test'?",
        ),
        (["down", "web-gone"], "no environment 'web-gone' is running"),
        (["status", "nothing-here"], "unknown system in stack name 'nothing-here'"),
        (["run", "wob"], "unknown system 'wob'"),
    ],
)
def test_one_line_and_exit_code_2(ephemera: Ephemera, arguments: list[str], said: str) -> None:
    done = ephemera(*arguments)
    assert done.code == 2, done.err
    assert said in done.err
    assert len(done.err.splitlines()) == 1
    assert done.out == ""
    assert ephemera.left() == []


def test_as_json(ephemera: Ephemera) -> None:
    done = ephemera("up", "wob", "--output", "json")
    assert done.code == 2
    assert done.json["error"]["kind"] == "unknown_name"
    assert "did you mean 'web'?" in done.json["error"]["remedy"]
    assert done.err == ""


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 28000))
        listener.listen()
        yield 28000


def test_fixed_port_in_use_names_its_holder(ephemera: Ephemera, taken_port: int) -> None:
    done = ephemera("up", "web", "--expose", "fixed", "--port-table", "test")
    assert done.code == 2, done.err
    assert f"port 127.0.0.1:{taken_port} for service 'web' is in use by" in done.err
    assert f"(pid {os.getpid()})" in done.err
    assert ephemera.left() == []


def test_outside_of_a_project(ephemera: Ephemera) -> None:
    done = ephemera("up", "web", cwd=ephemera.state)
    assert done.code == 2
    assert "no ephemera project in" in done.err


def test_a_name_that_is_alive_in_another_checkout_is_refused(ephemera: Ephemera) -> None:
    assert ephemera("up", "web").code == 0
    other = ephemera.project.parent / "other"
    ephemera.project.rename(other)
    ephemera.project.mkdir()
    done = ephemera("up", "web", cwd=other)
    assert done.code == 2, done.err
    assert f"environment '{ephemera.stack('web')}' belongs to checkout {ephemera.project}" in done.err
    assert ephemera("down", ephemera.stack("web"), cwd=other).code == 0
    assert ephemera.left() == []
