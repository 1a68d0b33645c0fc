"""The pytest plugin: ``environment`` and ``environment_factory``, made when first asked for, destroyed after the run.

``pytest tests/e2e/tasker`` alone suffices. The system comes from the suite's folder in the catalog, or from
``@pytest.mark.environment("tasker")``. One environment a run and system, made by the controller, also under xdist.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ephemera.plugin.broker import Broker
    from ephemera.plugin.running import EnvironmentFactory, RunningEnvironment

_STATE = pytest.StashKey["_Session"]()
_TAIL_LINES = 8
_EVIDENCE = "ephemera_evidence"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("ephemera", "ephemeral environments")
    group.addoption("--env", metavar="STACK", help="use this environment, which is up, and leave it")
    group.addoption("--keep", action="store_true", help="leave environments running after the run")
    group.addoption("--keep-on-failure", action="store_true", help="leave them running when a test failed")
    group.addoption("--ephemera-summary", metavar="FILE", help="write the counts of the run to FILE, as JSON")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "environment(system): the system whose environment the test uses")
    state = config.stash[_STATE] = _Session(config)
    if not state.is_worker:
        config.pluginmanager.register(_Reports(state), "ephemera-reports")


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """A worker of xdist is about to start: tell it where to ask for environments."""
    node.workerinput["ephemera_broker"] = node.config.stash[_STATE].broker.listen()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if _is_ours(metafunc):
        from ephemera.plugin.failing import failing_plainly

        with failing_plainly():
            system = _system_of(metafunc.definition)
            if system == metafunc.config.stash[_STATE].default_system:
                return  # a parameter would make pytest pull tests out of their modules
        metafunc.parametrize("environment", [system], indirect=True, scope="session", ids=[pytest.HIDDEN_PARAM])


@pytest.fixture(scope="session")
def environment(request: pytest.FixtureRequest) -> Iterator[RunningEnvironment]:
    """The run's environment of the suite's system: typed outputs, clients, and its services.

    Shared by the whole run: tests that break things make their own with ``environment_factory``.
    """
    from ephemera.driver.workspace import Workspace
    from ephemera.plugin.failing import failing_plainly
    from ephemera.plugin.running import RunningEnvironment

    state = request.config.stash[_STATE]
    with failing_plainly():
        system = _required(getattr(request, "param", state.default_system), request.config)
        running = RunningEnvironment(state.ask(system), Workspace.find(request.config.rootpath))
    state.in_use.append(running)
    yield running
    running.close()


@pytest.fixture
def environment_factory(request: pytest.FixtureRequest) -> Iterator[EnvironmentFactory]:
    """Makes environments of the test's own, destroyed when it ends: ``environment_factory(profiles=["scale"])``."""
    yield from _factory(request)


@pytest.fixture(scope="module")
def module_environment_factory(request: pytest.FixtureRequest) -> Iterator[EnvironmentFactory]:
    """The same for a whole module: its environments live until the module's last test has ended."""
    yield from _factory(request)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report: pytest.TestReport = yield  # type: ignore[assignment]
    state = item.config.stash[_STATE]
    if report.failed:
        for running in state.in_use:
            if running.open:
                text, folder = running.account(_TAIL_LINES)
                report.sections.append((running.stack, text))
                if folder is not None:
                    # A property goes with the report from worker to controller; the item's own into JUnit files.
                    report.user_properties.append((_EVIDENCE, str(folder)))
                    item.user_properties.append((_EVIDENCE, str(folder)))
    return report  # type: ignore[return-value]


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    state = session.config.stash[_STATE]
    try:
        return (yield)  # after an interrupt, fixtures that use the environment are only now torn down
    finally:
        if not state.is_worker:
            state.finish(session)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    for line in config.stash[_STATE].closing_lines:
        terminalreporter.write_line(line)


class _Session:
    """What one pytest process knows: in the controller the broker, in a worker how to reach it."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.is_worker = hasattr(config, "workerinput")
        self.in_use: list[RunningEnvironment] = []
        self.evidence: str | None = None
        self.closing_lines: list[str] = []
        self.counts: Counter[str] = Counter()
        self._broker: Broker | None = None

    @property
    def broker(self) -> Broker:
        """The controller's broker, made when first asked for."""
        from ephemera.plugin.broker import Broker

        if self._broker is None:
            self._broker = Broker(self.config.rootpath, self.config.getoption("--env"), self._tell)
        return self._broker

    @cached_property
    def default_system(self) -> str | None:
        """The system of the run, when the folders and files that it was started with leave only one."""
        from ephemera.contract.errors import InputError
        from ephemera.driver.workspace import Workspace

        asked = [
            (self.config.invocation_params.dir / argument.partition("::")[0]).resolve() for argument in self.config.args
        ]
        try:
            workspace = Workspace.find(self.config.rootpath)
        except InputError:
            return None
        found = [
            name
            for name, system in workspace.catalog.items()
            if any(_overlap(workspace.project / system.suite, path) for path in asked)
        ]
        return found[0] if len(found) == 1 else None

    def ask(self, system: str) -> str:
        """The stack of the run's environment of ``system``, which is up when this returns."""
        if self.is_worker:
            from ephemera.plugin.broker import ask

            return ask(self.config.workerinput["ephemera_broker"], system)  # type: ignore[attr-defined]
        return self.broker.environment(system)

    def finish(self, session: pytest.Session) -> None:
        """Take the run's environments down, prove it, and write the counts."""
        bad = self.counts["failed"] + self.counts["errors"]
        keep = self.config.getoption("--keep") or (self.config.getoption("--keep-on-failure") and bad)
        if self._broker is not None:
            self.closing_lines, leftovers = self._broker.close(keep=bool(keep))
            if leftovers and session.exitstatus == pytest.ExitCode.OK:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED
        if self.evidence is not None:
            self.closing_lines.append(f"ephemera: evidence in {self.evidence}")
        if summary := self.config.getoption("--ephemera-summary"):
            Path(summary).write_text(json.dumps({**self.counts, "evidence": self.evidence}))

    def _tell(self, line: str) -> None:
        reporter = self.config.pluginmanager.get_plugin("terminalreporter")
        capture = self.config.pluginmanager.get_plugin("capturemanager")
        if reporter is not None and capture is not None:
            with capture.global_and_fixture_disabled():
                reporter.write_line(line)


class _Reports:
    """Counts what is reported, in pytest's own categories, and remembers the evidence."""

    def __init__(self, state: _Session) -> None:
        self._state = state

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        config = self._state.config
        status = config.hook.pytest_report_teststatus(report=report, config=config)
        category = status[0] if status else report.outcome  # nobody answers without the terminal plugin
        if category:
            self._state.counts["errors" if category == "error" else category] += 1
        self._state.evidence = dict(report.user_properties).get(_EVIDENCE, self._state.evidence)  # type: ignore[assignment]

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._state.counts["errors"] += 1


def _factory(request: pytest.FixtureRequest) -> Iterator[EnvironmentFactory]:
    from ephemera.plugin.failing import failing_plainly
    from ephemera.plugin.running import EnvironmentFactory

    state = request.config.stash[_STATE]
    with failing_plainly():
        factory = EnvironmentFactory(
            request.config.rootpath, lambda: _required(_system_of(request.node), request.config), state.in_use
        )
    try:
        yield factory
    finally:
        with failing_plainly():
            factory.close()


def _system_of(node: pytest.Item | pytest.Collector) -> str | None:
    """The system that a marker names, or that the node's folder is the suite of."""
    marker = node.get_closest_marker("environment")
    if marker is not None:
        if len(marker.args) != 1 or not isinstance(marker.args[0], str):
            pytest.fail(f"{node.nodeid}: the marker takes a system: @pytest.mark.environment(NAME)", pytrace=False)
        return str(marker.args[0])
    from ephemera.contract.errors import InputError
    from ephemera.driver.workspace import Workspace

    try:
        workspace = Workspace.find(node.path.parent)
    except InputError:
        return None  # the fixture says so, if it is asked for
    suites = {name: workspace.project / system.suite for name, system in workspace.catalog.items()}
    inside = [name for name, folder in suites.items() if node.path.is_relative_to(folder)]
    return max(inside, key=lambda name: len(suites[name].parts), default=None)


def _overlap(one: Path, other: Path) -> bool:
    return one.is_relative_to(other) or other.is_relative_to(one)


def _is_ours(metafunc: pytest.Metafunc) -> bool:
    """Whether the test's ``environment`` is the fixture of this module: others may have one, or a parameter."""
    found = metafunc._arg2fixturedefs.get("environment")
    return found is not None and found[-1].func.__module__ == __name__


def _required(system: str | None, config: pytest.Config) -> str:
    from ephemera.driver.workspace import Workspace

    if system is None:
        known = ", ".join(Workspace.find(config.rootpath).catalog)  # raises why none can be found
        pytest.fail(
            f"no system for this test: put it into a system's suite, or mark it @pytest.mark.environment(NAME); "
            f"known: {known}",
            pytrace=False,
        )
    return system
