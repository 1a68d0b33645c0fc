"""``setup``, and commands that make the machine ready on their way."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from ephemera.model.catalog import Manifest, Service
from ephemera.model.errors import MachineError
from ephemera.pulumi import workspace as workspace_module
from ephemera.pulumi.workspace import Workspace
from ephemera.setup import steps
from ephemera.setup.toolchain import Toolchain
from tests.unit.cli.conftest import Command

_LACKING = MachineError("Docker is not running", remedy="start it")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> list[Sequence[str]]:
    """What the machine was asked for; it lacks Docker, and cannot be given it."""
    found: list[Sequence[str]] = []

    def ensure(wanted: Sequence[str], tell: Callable[[Sequence[str]], None], system: str | None) -> None:
        found.append(tuple(wanted) if system is None else (*wanted, f"images of {system}"))
        tell(("docker",))
        raise _LACKING

    workspace = Workspace(tmp_path_factory.mktemp("shop"), named="demo")
    workspace.__dict__["catalog"] = {"shop": Manifest(suite="tests", services={"db": Service()})}
    monkeypatch.setattr(Workspace, "find", staticmethod(lambda: workspace))
    monkeypatch.setattr(steps, "ensure", ensure)
    monkeypatch.setenv("EPHEMERA_BRANCH", "main")
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    return found


@pytest.mark.parametrize(
    ("command", "wanted"),
    [
        (("up", "shop"), (*steps.FOR_ENVIRONMENTS, "images of shop")),
        (("run", "shop"), (*steps.FOR_ENVIRONMENTS, "images of shop")),
        (("images", "build", "shop"), (steps.DOCKER,)),
        (("test", "shop"), steps.FOR_ENVIRONMENTS),
        (("env",), steps.FOR_ENVIRONMENTS),
        (("setup",), steps.EVERYTHING),
    ],
)
def test_what_a_command_needs_is_made_with_one_line_about_it(
    ephemera: Command, asked: list[Sequence[str]], command: tuple[str, ...], wanted: Sequence[str]
) -> None:
    said = ephemera(*command, "--output", "json")
    assert asked == [wanted]
    assert (said.exit_code, said.document) == (5, _LACKING.document())
    assert said.err == "this machine is made ready first, which may take minutes: docker\n"


def test_a_docker_engine_elsewhere_is_nobodys_to_make(
    ephemera: Command, asked: list[Sequence[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://far:2375")
    ephemera("test", "shop")
    assert asked == [(steps.TOOLCHAIN,)]


@pytest.mark.parametrize("command", [("up", "shp"), ("run", "shop", "--only", "x"), ("up", "--nope"), ("setup", "now")])
def test_bad_input_is_refused_before_anything_is_made(
    ephemera: Command, asked: list[Sequence[str]], command: tuple[str, ...]
) -> None:
    assert ephemera(*command).exit_code == 2
    assert asked == []


def test_setup_says_how_long_it_took(ephemera: Command) -> None:
    assert set(ephemera("setup", "--output", "json").document) == {"seconds"}
    assert ephemera("setup").err == "this machine is ready after 0.0 s\n"


def test_shell_code_unsets_what_would_steer_pulumi(
    ephemera: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toolchain = Toolchain(pulumi=tmp_path / "bin/pulumi", bin_dir=tmp_path / "bin", pulumi_home=tmp_path / "pulumi")
    monkeypatch.setattr(workspace_module, "located", lambda: toolchain)
    monkeypatch.setattr(Workspace, "find", staticmethod(lambda: Workspace(tmp_path, named="demo")))
    monkeypatch.setattr(steps, "ensure", lambda *_: None)
    hostile = {"PULUMI_CONFIG_PASSPHRASE": "", "PULUMI_OPTION_PARALLEL": "abc", "PULUMI_HOME": "/elsewhere"}
    for name, value in hostile.items():
        monkeypatch.setenv(name, value)
    code = ephemera("env").out
    told = subprocess.run(
        ["sh", "-c", f"{code}\nenv"], capture_output=True, text=True, check=True, env={**os.environ, **hostile}
    )
    left = dict(line.partition("=")[::2] for line in told.stdout.splitlines() if line.startswith("PULUMI_"))
    document = ephemera("env", "--output", "json").document
    assert left == {name: value for name, value in document.items() if name.startswith("PULUMI_") and value is not None}
    assert {name for name, value in document.items() if value is None} == set(hostile) - {"PULUMI_HOME"}
    assert left["PULUMI_HOME"] == str(tmp_path / "pulumi")
