from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from ephemera.contract.errors import EphemeraError, ServiceFailedError
from ephemera.driver.workspace import Workspace
from tests.unit.cli.conftest import Command
from tests.unit.contract.test_errors import SAMPLES


def _raising(monkeypatch: pytest.MonkeyPatch, act: Any) -> None:
    """Have every command end where it looks for its project."""
    monkeypatch.setattr(Workspace, "find", staticmethod(act))


def _raise(error: BaseException) -> Any:
    def act() -> None:
        raise error

    return act


@pytest.mark.parametrize("error", SAMPLES, ids=lambda error: error.kind)
def test_error_is_one_document_and_an_exit_code(
    ephemera: Command, monkeypatch: pytest.MonkeyPatch, error: EphemeraError
) -> None:
    _raising(monkeypatch, _raise(error))
    said = ephemera("ls", "--output", "json")
    assert said.exit_code == error.exit_code
    assert said.document == error.document()


@pytest.mark.parametrize("error", SAMPLES, ids=lambda error: error.kind)
def test_error_is_one_line_for_people_on_standard_error(
    ephemera: Command, monkeypatch: pytest.MonkeyPatch, error: EphemeraError
) -> None:
    _raising(monkeypatch, _raise(error))
    said = ephemera("ls")
    assert said.exit_code == error.exit_code
    assert said.out == ""
    assert said.err.startswith(f"ephemera: {error}\n")


def test_failed_service_shows_its_last_lines(ephemera: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    _raising(monkeypatch, _raise(ServiceFailedError("api", "exited", log_tail=["[bold]no[/] database"])))
    assert ephemera("ls").err.splitlines()[1:] == ["  [bold]no[/] database"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("ls", "--output=json"),
        ("ls", "--output", "json"),
        ("--nope", "--output", "json"),
        ("ls", "--nope", "--output=json"),
        ("nope", "--output=json"),
        ("run", "--output=json"),
        ("logs", "--tail", "x", "--output=json"),
    ],
)
def test_every_error_is_one_document_with_output_json(
    ephemera: Command, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    _raising(monkeypatch, _raise(SAMPLES[1]))
    said = ephemera(*arguments)
    assert said.exit_code == 2
    assert said.document["error"]["kind"] == "bad_input"
    assert said.document["error"]["message"]


def test_wrong_option_is_explained_to_people(ephemera: Command) -> None:
    said = ephemera("ls", "--nope")
    assert said.exit_code == 2
    assert said.out == ""
    assert "--nope" in said.err


def test_form_may_come_from_the_environment_and_a_flag_wins(ephemera: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    _raising(monkeypatch, _raise(SAMPLES[1]))
    monkeypatch.setenv("EPHEMERA_OUTPUT", "json")
    assert ephemera("ls").document == SAMPLES[1].document()
    assert ephemera("ls", "--output", "table").out == ""


def test_what_comes_after_two_hyphens_is_not_ours(ephemera: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    _raising(monkeypatch, _raise(SAMPLES[1]))
    assert ephemera("run", "shop", "--", "--output", "json").out == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_is_one_document_and_130(
    ephemera: Command, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    _raising(monkeypatch, lambda: os.kill(os.getpid(), number))
    said = ephemera("ls", "--output", "json")
    assert said.exit_code == 130
    assert said.document["error"]["kind"] == "interrupted"


def test_outside_a_project_it_says_so(ephemera: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.chdir(tmp_path)
    said = ephemera("ls", "--output", "json")
    assert said.exit_code == 2
    assert said.document["error"]["message"].startswith(f"no ephemera project in {tmp_path}")


@pytest.mark.parametrize("command", [(), ("run",), ("up",), ("test",), ("status",), ("images",), ("exec",)])
def test_help_is_there(ephemera: Command, command: tuple[str, ...]) -> None:
    said = ephemera(*command, "--help")
    assert said.exit_code == 0
    assert "Usage: " in said.out
    assert " ".join(("ephemera", *command)) in said.out
