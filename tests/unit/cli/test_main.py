from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ephemera.cli import main
from ephemera.cli.commands_containers import count_options
from ephemera.model.errors import EngineError, EphemeraError, ServiceFailedError
from ephemera.pulumi.workspace import Workspace
from tests.unit.cli.conftest import Command
from tests.unit.model.test_errors import SAMPLES


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


def test_output_of_the_engine_is_not_shown_but_in_the_document(
    ephemera: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    _raising(monkeypatch, _raise(EngineError("it failed: why", remedy="do this", output=["much", "more"])))
    assert ephemera("ls").err == "ephemera: it failed: why: do this\n"
    assert ephemera("ls", "--output", "json").document["error"]["log_tail"] == ["much", "more"]


def test_defect_is_one_line_and_its_traceback_is_kept(ephemera: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    _raising(monkeypatch, _raise(KeyError("one\ntwo")))
    said = ephemera("ls")
    assert said.exit_code == 70
    assert said.err.startswith("ephemera: KeyError: 'one\\ntwo': this is a defect, please report it with /")
    assert said.err.count("\n") == 1
    assert "in act" in Path(said.err.split()[-1]).read_text()
    assert ephemera("ls", "--output", "json").document["error"]["kind"] == "unexpected"


def test_what_the_system_refuses_is_named_with_its_file(ephemera: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    _raising(monkeypatch, _raise(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/full/file")))
    said = ephemera("ls")
    assert said.exit_code == 5
    assert said.err.startswith("ephemera: /full/file: No space left on device: free disk space; ")
    assert said.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "about"),
    [(("ls", "--nope"), "ephemera ls"), (("nope",), "ephemera"), (("logs", "--tail", "x"), "ephemera logs")],
)
def test_wrong_use_is_one_line(ephemera: Command, arguments: tuple[str, ...], about: str) -> None:
    said = ephemera(*arguments)
    assert (said.exit_code, said.out) == (2, "")
    assert said.err.startswith("ephemera: ")
    assert said.err.endswith(f": see `{about} --help`\n")
    assert said.err.count("\n") == 1


def test_options_behind_the_service_are_its_commands() -> None:
    assert count_options(["--output", "json", "-s", "x", "--branch=y", "web", "cmd", "--output", "json"]) == 5
    assert count_options(["web", "--output", "json"]) == 0
    assert count_options(["--", "web"]) == 0


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


@pytest.mark.parametrize("arguments", ["--version", "pool --output json"])
def test_output_that_cannot_be_written_is_no_defect(arguments: str, tmp_path: Path) -> None:
    """Also where little is written, which is tried only when the command ends."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "ephemera", *arguments.split()],
            stdout=full,
            stderr=subprocess.PIPE,
            env={**os.environ, "EPHEMERA_WARM": "off", "HOME": str(tmp_path)},
            text=True,
            check=False,
        )
    said = "ephemera: the output cannot be written (No space left on device): write it somewhere else\n"
    assert (done.returncode, done.stderr) == (5, said if "json" not in arguments else done.stderr)
    assert "Traceback" not in done.stderr


def test_closed_standard_streams_lead_nowhere(tmp_path: Path) -> None:
    command = f"exec {sys.executable} -m ephemera pool <&- >&- 2>&-"
    environment = {**os.environ, "EPHEMERA_WARM": "off", "HOME": str(tmp_path)}
    assert subprocess.run(["sh", "-c", command], env=environment, check=False).returncode == 0


def test_help_shows_every_command_in_a_group_and_one_line(ephemera: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERMINAL_WIDTH", "80")
    lines = ephemera("--help").out.splitlines()
    groups = [line.strip("╭╮─ ") for line in lines if line.startswith("╭─")]
    assert groups == ["Options", "Start", "Daily", "Look", "Data and services", "Machine"]
    after = lines[next(at for at, line in enumerate(lines) if "Start" in line) :]
    names = [line.split()[1] for line in after if line.startswith("│")]
    assert sorted(names) == sorted(main._command.commands)
