"""The real command line: what is wrong ends with exit code 2 and one error, and leaves nothing."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.driver_command import PROJECT, Done, Ephemera, command_in

_BRANCHES = ["", " ", "-", "--help", "../../etc", "feature/ü", "a.b", "🚀", "a\nb", "\x1b[2J", "\udcff", "x" * 5000]
_WRONG_SETTINGS = [
    "nonsense=1",
    "=",
    "",
    "no equals sign",
    "images=often",
    "expose=everywhere",
    "only=" + "[" * 5000,
    "only=[1]",
    "profiles=nothing",
    "subnet_pool=8.8.8.0/24",
    "subnet_pool=10.0.0.0/8",
    "ready_seconds=soon",
    "ready_seconds=" + "9" * 5000,
    "greet\udcffing=x",
    "[red]=x",
]
_SYSTEMS = ["", "wep", "../web", "WEB", "🚀", "[red]web[/]", "\udcff", "-c"]


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ephemera]:
    """The command, in a checkout and with state of its own."""
    with command_in(PROJECT, tmp_path_factory.mktemp("fuzz")) as ephemera:
        yield ephemera


def _commands() -> list[list[str]]:
    found = [["up", f"--branch={branch}", "-c", "nonsense=1", "--", "web"] for branch in _BRANCHES]
    found += [["up", "--branch=fuzz", f"--config={setting}", "--", "web"] for setting in _WRONG_SETTINGS]
    found += [["up", "--branch=fuzz", "--", system] for system in _SYSTEMS]
    return found


@pytest.mark.parametrize("shape", ["table", "json"])
def test_bad_input_is_one_error_and_exit_code_2(command: Ephemera, shape: str) -> None:
    commands = _commands()[shape == "json" :: 2]  # half of them each way: a command takes a second
    before = _files(command)
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda given: command(given[0], "--output", shape, *given[1:]), commands))
    wrong = [f"{given}: {done}" for given, done in zip(commands, answers, strict=True) if not _one_error(done, shape)]
    assert wrong == []
    assert _files(command) == before
    assert command.left() == []


def _one_error(done: Done, shape: str) -> bool:
    if done.code != 2 or "Traceback" in done.err + done.out:
        return False
    if shape == "json":
        return set(done.json) == {"error"} and done.json["error"]["kind"] in ("bad_input", "unknown_name")
    return done.out == "" and done.err.startswith("ephemera: ") and done.err.count("ephemera: ") == 1


def _files(command: Ephemera) -> set[Path]:
    return {path for path in command.project.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
