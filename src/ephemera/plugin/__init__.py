"""The pytest plugin: ``environment`` and ``environment_factory``, made when first asked for, destroyed after the run.

``pytest tests/e2e/tasker`` alone suffices. The system comes from the suite's folder in the catalog, or from
``@pytest.mark.environment("tasker")``. One environment a run and system, made by the controller, also under xdist.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from ephemera.host import surroundings
from ephemera.inside.both_sides import add_options
from ephemera.plugin.session import EVIDENCE, Session
from ephemera.plugin.systems import MARKER

if TYPE_CHECKING:
    from ephemera.plugin.running import EnvironmentFactory, RunningEnvironment

_STARTED = pytest.StashKey[float]()
_STATE = pytest.StashKey[Session]()
# Ways of xdist to hand out tests by group: 3.8 waits for good for those of a worker that crashed.
_BY_GROUP = ("loadfile", "loadscope", "loadgroup")
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
    config.stash[_STATE] = Session(config)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of xdist where to ask for environments, and the surroundings of this process."""
    node.workerinput["ephemera"] = node.config.stash[_STATE].for_worker()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object | None) -> None:
    """End the run after a worker of xdist has crashed, where xdist may wait for its tests for good."""
    if error and node.config.getoption("dist") in _BY_GROUP:
        xdist = node.config.pluginmanager.get_plugin("dsession")
        xdist.shouldstop = xdist.shouldstop or f"worker {node.gateway.id} crashed: run its tests again"


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> None:
    item.config.stash[_STATE].item = item


@pytest.fixture(scope="session")
def environment(request: pytest.FixtureRequest) -> Iterator[RunningEnvironment]:
    """The run's environment of the suite's system: typed outputs, clients, and its services.

    Shared by the whole run: tests that break things make their own with ``environment_factory``. In a run of several
    systems, each test gets its own system's.
    """
    from ephemera.plugin.failing import failing_plainly

    state = request.config.stash[_STATE]
    with failing_plainly(required=state.required):
        running = state.open()
    state.in_use.append(running)
    yield running
    state.in_use.remove(running)
    running.close()


@pytest.fixture
def ephemera_fresh_data(environment: RunningEnvironment, request: pytest.FixtureRequest) -> None:
    """Reset the environment's data to the state in which it became ready, and lock it for this test alone.

    The reset is before the test and not after it: then the data is right even after tests without this fixture, and the
    data of a failed test can be inspected.
    """
    from ephemera.plugin.failing import failing_plainly

    request.config.stash[_STATE].hold_data(alone=True)
    with failing_plainly(required=True):
        environment.reset()


@pytest.fixture
def fresh_data(ephemera_fresh_data: None) -> None:
    """The former name of ``ephemera_fresh_data``. A project's own fixture of that name is used in its place."""


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    item.config.stash[_STATE].hold_data()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    try:
        return (yield)
    finally:
        item.config.stash[_STATE].end_test()


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest) -> Iterator[Any]:
    if fixturedef.argname != "environment" or fixturedef.func.__module__ != __name__:
        return (yield from _shortened())
    # The value holds for one system: for a test of another, pytest sets it up anew, and what is made of it.
    state = request.config.stash[_STATE]
    fixturedef.cache_key = lambda request: state.systems.key(state.item)  # type: ignore[method-assign] # noqa: ARG005
    try:
        return (yield from _shortened())
    finally:
        state.hold_data()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Iterator[Any]:
    return (yield from _shortened())


@pytest.fixture
def environment_factory(request: pytest.FixtureRequest) -> Iterator[EnvironmentFactory]:
    """Makes environments of the test's own, destroyed when it ends: ``environment_factory(profiles=["scale"])``."""
    yield from _factory(request)


@pytest.fixture(scope="module")
def module_environment_factory(request: pytest.FixtureRequest) -> Iterator[EnvironmentFactory]:
    """The same for a whole module: its environments live until the module's last test has ended."""
    yield from _factory(request)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report: pytest.TestReport = yield  # type: ignore[assignment]
    if call.when == "setup":
        item.stash[_STARTED] = call.start
    started = item.stash.get(_STARTED, call.start)
    for running in item.config.stash[_STATE].in_use:
        if running.open and (report.failed or report.when == "call"):
            running.note(item.nodeid, call.when, started, call.stop, report.outcome, report.longreprtext)
            if report.failed:
                text, folder = running.account(started, call.stop)
                report.sections.append((running.stack, text))
                if folder is not None:
                    # A property goes with the report from worker to controller; the item's own into JUnit files.
                    report.user_properties.append((EVIDENCE, str(folder)))
                    item.user_properties.append((EVIDENCE, str(folder)))
    return report  # type: ignore[return-value]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    config.stash[_STATE].summarize(terminalreporter)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    state = session.config.stash[_STATE]
    try:
        return (yield)  # after an interrupt, fixtures that use the environment are only now torn down
    finally:
        if not state.is_worker:
            state.finish(session)


def _factory(request: pytest.FixtureRequest) -> Iterator[EnvironmentFactory]:
    from ephemera.plugin.failing import failing_plainly
    from ephemera.plugin.running import EnvironmentFactory

    state = request.config.stash[_STATE]
    with failing_plainly(required=state.required):
        workspace = state.systems.workspace(request.node)
        factory = EnvironmentFactory(
            workspace,
            lambda: state.systems.wanted(request.node).system,
            state.in_use,
            state.required,
            state.settings,
        )
    try:
        yield factory
    finally:
        with failing_plainly(required=True):
            factory.close()


def _shortened() -> Iterator[Any]:
    """Shorten tracebacks of our errors in a test's call: they end at the test's line."""
    try:
        return (yield)
    except Exception as error:
        from ephemera.contract.errors import EphemeraError
        from ephemera.plugin.failing import shorten

        if isinstance(error, EphemeraError):
            shorten(error)
        raise
