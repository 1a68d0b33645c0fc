"""The pytest plugin: ``environment`` and ``environment_factory``, made when first asked for, destroyed after the run.

``pytest tests/e2e/tasker`` alone suffices. The system comes from the suite's folder in the catalog, or from
``@pytest.mark.environment("tasker")``. One environment a run and system, made by the controller, also under xdist.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from ephemera.host import surroundings
from ephemera.inside.both_sides import add_options
from ephemera.pytest_plugin.session import Session
from ephemera.pytest_plugin.systems import MARKER

if TYPE_CHECKING:
    from ephemera.pytest_plugin.environments import EnvironmentFactory, RunningEnvironment

_SESSION = pytest.StashKey[Session]()
_loaded = False


def pytest_addoption(parser: pytest.Parser) -> None:
    add_options(parser)


def pytest_load_initial_conftests() -> None:
    """Take the surroundings before any conftest is loaded, with the variables that pytest's configuration has set
    (pytest-env and the like). A run inside a test is in a process that started long ago."""
    global _loaded
    if not _loaded:
        _loaded = True
        surroundings.take()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", f"{MARKER}(system): the system whose environment the test uses")
    session = config.stash[_SESSION] = Session(config)
    config.pluginmanager.register(session, "ephemera-session")


@pytest.fixture(scope="session")
def environment(request: pytest.FixtureRequest) -> Iterator[RunningEnvironment]:
    """The run's environment of the suite's system: typed outputs, clients, and its services.

    Shared by the whole run: tests that break things make their own with ``environment_factory``. In a run of several
    systems, each test gets its own system's.
    """
    yield from request.config.stash[_SESSION].open()


@pytest.fixture
def ephemera_fresh_data(environment: RunningEnvironment, request: pytest.FixtureRequest) -> None:
    """Reset the environment's data to the state in which it became ready, and lock it for this test alone.

    The reset is before the test and not after it: then the data is right even after tests without this fixture, and the
    data of a failed test can be inspected.
    """
    from ephemera.pytest_plugin.failing import failing_plainly

    request.config.stash[_SESSION].hold_data(alone=True)
    with failing_plainly(required=True):
        environment.reset()


@pytest.fixture
def fresh_data(ephemera_fresh_data: None) -> None:
    """The former name of ``ephemera_fresh_data``. A project's own fixture of that name is used in its place."""


@pytest.fixture
def environment_factory(request: pytest.FixtureRequest) -> Iterator[EnvironmentFactory]:
    """Makes environments of the test's own, destroyed when it ends: ``environment_factory(profiles=["scale"])``."""
    yield from request.config.stash[_SESSION].factory(request.node)


@pytest.fixture(scope="module")
def module_environment_factory(request: pytest.FixtureRequest) -> Iterator[EnvironmentFactory]:
    """The same for a whole module: its environments live until the module's last test has ended."""
    yield from request.config.stash[_SESSION].factory(request.node)
