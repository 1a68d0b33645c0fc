"""The pytest plugin inside the network: the fixtures of :mod:`ephemera.pytest_plugin`, for the environment around it.

Suites that import types from ``ephemera.pytest_plugin.environments`` get this module.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from ephemera.inside.both_sides import ReachableEnvironment, add_options, counts, reports
from ephemera.model.errors import UnknownNameError
from ephemera.model.outputs import EnvironmentOutputs

sys.modules["ephemera.pytest_plugin.environments"] = sys.modules[__name__]

# Read once: tests may change their variables.
_SYSTEM = os.environ.get("EPHEMERA_SYSTEM", "")
_SERVICES = os.environ.get("EPHEMERA_SERVICES", "[]")
_OUTPUTS = os.environ.get("EPHEMERA_OUTPUTS", "")
_MARKER = "environment"
_MOST_TESTS = 2000
_TEXT_LENGTH = 20_000
_ONLY_OUTSIDE = ("database", "evidence", "remember", "reset", "seed")


class Service:
    """A service: its name and outputs. Any other attribute of a handle skips the test."""

    def __init__(self, name: str, outputs: EnvironmentOutputs) -> None:
        self.name = name
        self.outputs = outputs.service(name)

    def __getattr__(self, name: str) -> NoReturn:
        __tracebackhide__ = True
        if name.startswith("_"):  # asked for by Python itself, or by a debugger
            raise AttributeError(name)
        skip(f"{name} of service {self.name!r}")


class RunningEnvironment(ReachableEnvironment):
    """The environment around the suite. ``declared``: names of the system's services."""

    def __init__(self, outputs: EnvironmentOutputs, declared: tuple[str, ...]) -> None:
        super().__init__(outputs)
        self._declared = declared

    def __getattr__(self, name: str) -> NoReturn:
        __tracebackhide__ = True
        if name not in _ONLY_OUTSIDE:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        skip(f"environment.{name}()")

    def service(self, name: str) -> Service:
        """Return a service."""
        return Service(name, self.outputs)

    def require(self, name: str) -> Service:
        """Return the service if this environment has it; else skip the test."""
        if name in self.outputs.services:
            return self.service(name)
        if name not in self._declared:
            raise UnknownNameError(f"service of system {self.system!r}", name, self._declared)
        pytest.skip(f"no service: {self.stack} has no {name!r}")


class EnvironmentFactory:
    """Type for annotations; the fixtures that make one skip the test."""


def skip(what: str) -> NoReturn:
    """Skip the running test, at its own line."""
    __tracebackhide__ = True
    pytest.skip(f"in the network: {what} needs the Docker engine, which is not reached from inside")


def pytest_addoption(parser: pytest.Parser) -> None:
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", f"{_MARKER}(system): the system whose environment the test uses")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write counts and, for evidence, when each test ran and how it ended."""
    summary = session.config.getoption("--ephemera-summary")
    if not summary or hasattr(session.config, "workerinput"):  # xdist's workers report to the controller
        return
    found = [each for kind in reports(session.config).values() for each in kind if isinstance(each, pytest.TestReport)]
    tests = [
        {
            "nodeid": report.nodeid,
            "phase": report.when,
            "start": report.start,
            "stop": report.stop,
            "outcome": report.outcome,
            "text": report.longreprtext[-_TEXT_LENGTH:],
        }
        for report in sorted(found, key=lambda report: report.start)
        if report.failed or report.when == "call"
    ]
    Path(summary).write_text(json.dumps({"counts": counts(session.config), "tests": tests[:_MOST_TESTS]}))


@pytest.fixture(scope="session")
def environment() -> Iterator[RunningEnvironment]:
    """The environment that this network belongs to: typed outputs and clients."""
    outputs = EnvironmentOutputs.parse(json.loads(Path(_OUTPUTS).read_text()))
    running = RunningEnvironment(outputs, tuple(json.loads(_SERVICES)))
    yield running
    running.close()


def pytest_runtest_setup(item: pytest.Item) -> None:
    marker = item.get_closest_marker(_MARKER)
    if marker is not None and marker.args != (_SYSTEM,):
        wanted = ", ".join(map(repr, marker.args))
        pytest.skip(f"in the network: this one is of system {_SYSTEM!r}, the test wants {wanted}")


@pytest.fixture
def ephemera_fresh_data() -> None:
    """Skips the test."""
    skip("ephemera_fresh_data")


@pytest.fixture
def fresh_data(ephemera_fresh_data: None) -> None:
    """The former name of ``ephemera_fresh_data``."""


@pytest.fixture
def environment_factory() -> EnvironmentFactory:
    """Skips the test."""
    skip("environment_factory")


@pytest.fixture(scope="module")
def module_environment_factory() -> EnvironmentFactory:
    """Skips the test."""
    skip("module_environment_factory")
