"""What every unit test stands on: a home of its own, no settings from outside, no Docker."""

from __future__ import annotations

import importlib
import itertools
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

# `components`, `stacks` and `tests` are folders of the checkout, not of the installed package.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ephemera.docker import connection, ports
from ephemera.host import branches
from ephemera.model import progress
from ephemera.pulumi import workspace as workspace_module
from ephemera.pulumi.workspace import Workspace
from ephemera.resources.manifests import KNOWN
from ephemera.setup.toolchain import Toolchain
from tests.surroundings import follow
from tests.unit.doubles import SHOP, FakeClient

if TYPE_CHECKING:
    from tests.unit.programs import OpenGates

settings.register_profile(
    "unit",
    max_examples=60,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
settings.load_profile("unit")

_numbers = itertools.count()
_FOREIGN_PREFIXES = ("EPHEMERA_", "PULUMI_", "DOCKER_", "GIT_")


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    found = dict(os.environ)
    follow(monkeypatch)
    home = tmp_path_factory.mktemp("home")
    for variable in found:
        if variable.startswith(_FOREIGN_PREFIXES) or variable in branches._CI_VARIABLES:
            monkeypatch.delenv(variable)
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    monkeypatch.setenv("DOCKER_CONFIG", str(home / "docker"))
    yield
    # What a test sets by itself reaches no later one, which may use Docker.
    os.environ.clear()
    os.environ.update(found)


@pytest.fixture
def events() -> Iterator[list[progress.Event]]:
    """Every event that is emitted during the test."""
    seen: list[progress.Event] = []
    progress.subscribe(seen.append)
    yield seen
    progress._subscribers.remove(seen.append)


@pytest.fixture
def client() -> Iterator[FakeClient]:
    """A Docker engine that is not there."""
    fake = FakeClient()
    yield fake
    fake.close()


@pytest.fixture
def docker(client: FakeClient, monkeypatch: pytest.MonkeyPatch) -> FakeClient:
    """The engine that everything connects to; all ports are free."""
    monkeypatch.setattr(connection, "connect", lambda: client)
    monkeypatch.setattr(ports, "is_free", lambda *_: True)
    return client


@pytest.fixture
def gates(docker: FakeClient, monkeypatch: pytest.MonkeyPatch) -> OpenGates:
    """Programs run with open gates."""
    # Imported late: Pulumi takes longer to import than most tests take to run.
    from ephemera.resources import environment
    from tests.unit.programs import OpenGates

    gates = OpenGates()
    monkeypatch.setattr(environment, "Gatekeeper", lambda *_: gates)
    return gates


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """A project whose catalog holds the shop; Pulumi is said to be in ``bin``."""
    project = tmp_path / "project"
    project.mkdir()
    module = f"shop_catalog_{next(_numbers)}"
    (project / "Pulumi.yaml").write_text("name: demo\nruntime: python\n")
    (project / "pyproject.toml").write_text(f'[tool.ephemera]\ncatalog = "{module}:SYSTEMS"\n')
    (project / f"{module}.py").write_text("from tests.unit.doubles import shop as SYSTEMS\n")
    toolchain = Toolchain(pulumi=tmp_path / "bin/pulumi", bin_dir=tmp_path / "bin", pulumi_home=tmp_path / "pulumi")
    monkeypatch.setattr(workspace_module, "located", lambda: toolchain)
    monkeypatch.setattr(sys, "path", list(sys.path))
    importlib.invalidate_caches()
    known = KNOWN.set({"shop": SHOP})
    yield Workspace(project)
    KNOWN.reset(known)
    sys.modules.pop(module, None)
