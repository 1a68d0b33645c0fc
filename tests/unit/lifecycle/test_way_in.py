from __future__ import annotations

import shlex

import pytest
from typer.main import get_command

from ephemera.cli.main import app
from ephemera.lifecycle.way_in import way_in

_STACK = "shop-main"
_ADDRESSES = {"worker": [], "api": ["http://127.83.1.2:8080"]}


def test_every_service_has_its_endpoint() -> None:
    lines = way_in(_STACK, _ADDRESSES, ready=True)
    assert lines[1:3] == ["  api     http://127.83.1.2:8080", "  worker  nothing published"]


@pytest.mark.parametrize("ready", [True, False])
def test_commands_are_those_of_the_command_line(ready: bool) -> None:
    found = way_in(_STACK, _ADDRESSES, ready=ready)
    lines = [line.split("  ")[1] for line in found if line.startswith("  ephemera ")]
    commands = [shlex.split(line)[1:] for line in lines]
    names = [command[0] for command in commands]
    assert names == ["status", "logs", "shell", *(["outputs"] if ready else []), "down"]
    known = get_command(app).commands  # type: ignore[attr-defined]
    for name, *arguments in commands:
        context = known[name].make_context(name, arguments)  # refuses what it does not understand
        assert _STACK in context.params.values()
