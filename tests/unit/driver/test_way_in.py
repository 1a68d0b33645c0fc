from __future__ import annotations

import shlex

import pytest
from typer.main import get_command

from ephemera.cli.main import app
from ephemera.contract.outputs import EnvironmentOutputs
from ephemera.driver.way_in import way_in

_STACK = "shop-main"


def _outputs(*, ready: bool) -> EnvironmentOutputs:
    endpoint = {
        "scheme": "http",
        "host": "127.83.1.2",
        "port": 8080,
        "url": "http://127.83.1.2:8080",
        "internal_host": "api",
        "internal_port": 8080,
        "internal_url": "http://api:8080",
    }
    further = {"endpoints": {"http": endpoint}, "readiness": {"kind": "Http"}} if ready else {}
    services = {"api": {"container": "a", "image": "i", **further}, "worker": {"container": "w", "image": "i"}}
    return EnvironmentOutputs.parse({"stack": _STACK, "system": "shop", "branch": "main", "services": services})


def test_every_service_has_its_endpoint() -> None:
    lines = way_in(_outputs(ready=True))
    assert lines[1:3] == ["  api     http://127.83.1.2:8080", "  worker  nothing published"]


@pytest.mark.parametrize("ready", [True, False])
def test_commands_are_those_of_the_command_line(ready: bool) -> None:
    lines = [line.split("  ")[1] for line in way_in(_outputs(ready=ready)) if line.startswith("  ephemera ")]
    commands = [shlex.split(line)[1:] for line in lines]
    names = [command[0] for command in commands]
    assert names == ["status", "logs", "shell", *(["outputs"] if ready else []), "down"]
    known = get_command(app).commands  # type: ignore[attr-defined]
    for name, *arguments in commands:
        context = known[name].make_context(name, arguments)  # refuses what it does not understand
        assert _STACK in context.params.values()


def test_what_never_became_ready_shows_what_the_engine_published() -> None:
    lines = way_in(_outputs(ready=False), {"api": ["127.83.1.2:8080"]})
    assert lines[1] == "  api     127.83.1.2:8080"
