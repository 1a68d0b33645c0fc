"""The pytest plugin in the network: the fixtures of :mod:`ephemera.plugin`, for the one environment around it."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ephemera.contract.outputs import EnvironmentOutputs
from ephemera.inside import environment as inside
from ephemera.inside.counting import Counting
from ephemera.inside.options import add_options

# Suites import the types of their fixtures from there. Outside, that module brings the whole driver along.
sys.modules["ephemera.plugin.running"] = inside

# As the first process set them, whatever tests do with their variables.
_SYSTEM = os.environ.get("EPHEMERA_SYSTEM", "")
_SERVICES = os.environ.get("EPHEMERA_SERVICES", "[]")
_OUTPUTS = os.environ.get("EPHEMERA_OUTPUTS", "")
_MARKER = "environment"
_MOST_TESTS = 2000
_TEXT_LENGTH = 20_000
_REPORTS = pytest.StashKey["_Reports"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", f"{_MARKER}(system): the system whose environment the test uses")
    if not hasattr(config, "workerinput"):  # xdist's workers report to it
        reports = config.stash[_REPORTS] = _Reports(config)
        config.pluginmanager.register(reports, "ephemera-reports")


def pytest_sessionfinish(session: pytest.Session) -> None:
    summary = session.config.getoption("--ephemera-summary")
    if summary and (reports := session.config.stash.get(_REPORTS, None)):
        Path(summary).write_text(json.dumps({"counts": reports.counts, "tests": reports.tests}))


class _Reports(Counting):
    """Counts what is reported, and remembers when each test ran and how it ended: evidence is made of it outside."""

    def __init__(self, config: pytest.Config) -> None:
        self.counts: Counter[str] = Counter()
        self.tests: list[dict[str, Any]] = []
        super().__init__(config, self.counts)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        super().pytest_runtest_logreport(report)
        if (report.failed or report.when == "call") and len(self.tests) < _MOST_TESTS:
            self.tests.append(
                {
                    "nodeid": report.nodeid,
                    "phase": report.when,
                    "start": report.start,
                    "stop": report.stop,
                    "outcome": report.outcome,
                    "text": report.longreprtext[-_TEXT_LENGTH:],
                }
            )


@pytest.fixture(scope="session")
def environment() -> Iterator[inside.RunningEnvironment]:
    """The environment that this network is of: typed outputs and clients."""
    outputs = EnvironmentOutputs.parse(json.loads(Path(_OUTPUTS).read_text()))
    running = inside.RunningEnvironment(outputs, tuple(json.loads(_SERVICES)))
    yield running
    running.close()


def pytest_runtest_setup(item: pytest.Item) -> None:
    marker = item.get_closest_marker(_MARKER)
    if marker is not None and marker.args != (_SYSTEM,):
        wanted = ", ".join(map(repr, marker.args))
        pytest.skip(f"in the network: this one is of system {_SYSTEM!r}, the test wants {wanted}")


@pytest.fixture
def ephemera_fresh_data() -> None:
    """Outside only."""
    inside.skip("ephemera_fresh_data")


@pytest.fixture
def fresh_data(ephemera_fresh_data: None) -> None:
    """The former name of ``ephemera_fresh_data``."""


@pytest.fixture
def environment_factory() -> inside.EnvironmentFactory:
    """Outside only."""
    inside.skip("environment_factory")


@pytest.fixture(scope="module")
def module_environment_factory() -> inside.EnvironmentFactory:
    """Outside only."""
    inside.skip("module_environment_factory")
