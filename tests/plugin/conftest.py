"""What the plugin's tests stand on: a project in a folder of its own, and a driver that only records."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ephemera import lifecycle
from ephemera.docker import connection
from ephemera.host import branches
from ephemera.lifecycle import finding
from ephemera.pytest_plugin import environments
from tests.driver_command import ephemera
from tests.plugin.doubles import PYPROJECT, SYSTEMS, FakeDriver, Project
from tests.surroundings import follow
from tests.unit.doubles import FakeClient

__all__ = ["driver", "ephemera", "project"]

_FOREIGN_PREFIXES = ("EPHEMERA_", "PYTEST_XDIST", "GIT_")


@pytest.fixture
def driver(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> FakeDriver:
    """The driver that the plugin calls."""
    follow(monkeypatch)
    home: Path = tmp_path_factory.mktemp("home")
    for variable in list(os.environ):
        if variable == "CI" or variable.startswith(_FOREIGN_PREFIXES) or variable in branches._CI_VARIABLES:
            monkeypatch.delenv(variable)
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    monkeypatch.setenv("EPHEMERA_BRANCH", "main")
    monkeypatch.setenv(
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1"
    )  # what else is installed is not tested, and takes its time
    fake = FakeDriver(FakeClient())
    for name in ("up", "down", "outputs", "let_go"):
        monkeypatch.setattr(lifecycle, name, getattr(fake, name))
    monkeypatch.setattr(finding, "outputs", fake.outputs)
    for module in (connection, environments):
        monkeypatch.setattr(module, "connect", lambda: fake.client)
    return fake


@pytest.fixture
def project(pytester: pytest.Pytester, driver: FakeDriver) -> Project:
    """A project that has systems and no tests."""
    made = Project(pytester, driver)
    made.write({"Pulumi.yaml": "name: demo\nruntime: python\n", "pyproject.toml": PYPROJECT, "systems.py": SYSTEMS})
    return made
