"""Hooks of one pytest process, with their state: the controller's broker, or a worker's way to it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest

from ephemera.host import surroundings
from ephemera.inside import both_sides
from ephemera.model.text import printable
from ephemera.pytest_plugin.systems import Systems, Wanted

if TYPE_CHECKING:
    from ephemera.model.outputs import EnvironmentOutputs
    from ephemera.pytest_plugin.broker import Broker
    from ephemera.pytest_plugin.environments import EnvironmentFactory, RunningEnvironment
    from ephemera.pytest_plugin.fresh import Hold

EVIDENCE = "ephemera_evidence"
"""Name of the property by which a report names the folder of its evidence."""

_FIXTURES = "ephemera.pytest_plugin"
_STARTED = pytest.StashKey[float]()
_YES, _NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off")
# Ways of xdist to hand out tests by group: 3.8 waits for good for those of a worker that crashed.
_BY_GROUP = ("loadfile", "loadscope", "loadgroup")


class Session:
    """The plugin of one pytest process. Modules of ours are imported when a test needs them, and not before: the plugin
    is loaded for every project of a virtual environment."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._is_worker = hasattr(config, "workerinput")
        if self._is_worker:
            self._address, found = config.workerinput["ephemera"]  # type: ignore[attr-defined]
            surroundings.adopt(found)
        self._required = services_required(config.getoption("--ephemera-require-services"), surroundings.variables())
        self._settings = _settings(config)
        self._in_use: list[RunningEnvironment] = []
        self._systems = Systems(config.rootpath)
        self._closing_lines: list[str] = []
        self._outputs: dict[Wanted, EnvironmentOutputs] = {}
        self._made_broker: Broker | None = None
        self._hold: Hold | None = None
        self._item: pytest.Item

    def open(self) -> Iterator[RunningEnvironment]:
        """Yield the environment of the running test's system, made when first asked for; then close its clients."""
        from ephemera.pulumi.workspace import Workspace
        from ephemera.pytest_plugin.broker import ask
        from ephemera.pytest_plugin.environments import RunningEnvironment
        from ephemera.pytest_plugin.failing import failing_plainly

        with failing_plainly(required=self._required):
            wanted = self._systems.wanted(self._item)
            if wanted not in self._outputs:
                made = ask(self._address, wanted) if self._is_worker else self._broker().environment(wanted)
                self._outputs[wanted] = made
            running = RunningEnvironment(self._outputs[wanted], Workspace(wanted.project), required=self._required)
        self._in_use.append(running)
        yield running
        self._in_use.remove(running)
        running.close()

    def factory(self, node: pytest.Item | pytest.Collector) -> Iterator[EnvironmentFactory]:
        """Yield a factory for a test or module; then take down the environments that it made."""
        from ephemera.pytest_plugin.environments import EnvironmentFactory
        from ephemera.pytest_plugin.failing import failing_plainly

        with failing_plainly(required=self._required):
            workspace = self._systems.workspace(node)
        factory = EnvironmentFactory(
            workspace,
            lambda: self._systems.wanted(node).system,
            self._in_use,
            self._required,
            self._settings,
        )
        try:
            yield factory
        finally:
            with failing_plainly(required=True):
                factory.close()

    def hold_data(self, *, alone: bool = False) -> None:
        """Lock the data of the running test's environment until the test has ended, if it is up and the test uses it:
        shared or, for fresh data, ``alone``."""
        fixtures = getattr(self._item, "fixturenames", ())
        if not self._outputs or not (alone or "environment" in fixtures):
            return
        wanted = self._systems.key(self._item)
        if wanted is None or wanted not in self._outputs:
            return
        from ephemera.pytest_plugin.fresh import Hold

        self._hold = self._hold or Hold()
        self._hold.take(self._outputs[wanted].stack, alone=alone or "ephemera_fresh_data" in fixtures)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker of xdist where to ask for environments, and the surroundings of this process."""
        node.workerinput["ephemera"] = (self._broker().listen(), surroundings.handed_on())

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object | None) -> None:
        """End the run after a worker of xdist has crashed, where xdist may wait for its tests for good."""
        if error and self._config.getoption("dist") in _BY_GROUP:
            xdist: Any = self._config.pluginmanager.get_plugin("dsession")
            xdist.shouldstop = xdist.shouldstop or f"worker {node.gateway.id} crashed: run its tests again"

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> None:
        self._item = item

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self) -> Iterator[None]:
        self.hold_data()
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Iterator[Any]:
        if fixturedef.argname != "environment" or fixturedef.func.__module__ != _FIXTURES:
            return (yield from _shortened())
        # The value holds for one system: for a test of another, pytest sets it up anew, and what is made of it.
        fixturedef.cache_key = lambda request: self._systems.key(self._item)  # type: ignore[method-assign] # noqa: ARG005
        try:
            return (yield from _shortened())
        finally:
            self.hold_data()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self) -> Iterator[Any]:
        return (yield from _shortened())

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self) -> Iterator[None]:
        try:
            return (yield)
        finally:
            try:
                for running in self._in_use:
                    running.end_test()
            finally:
                if self._hold is not None:
                    self._hold.let_go()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
        report: pytest.TestReport = yield  # type: ignore[assignment]
        if call.when == "setup":
            item.stash[_STARTED] = call.start
        started = item.stash.get(_STARTED, call.start)
        for running in self._in_use:
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

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Iterator[None]:
        try:
            return (yield)  # after an interrupt, fixtures that use the environment are only now torn down
        finally:
            if not self._is_worker:
                self._finish(session)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print why tests were skipped for lack of an environment, and how the run's environments ended."""
        from ephemera.pytest_plugin.failing import NO_ENVIRONMENT, NO_SERVICE

        found = [each.longrepr for each in terminalreporter.stats.get("skipped", ())]
        reasons = [longrepr[2].removeprefix("Skipped: ") for longrepr in found if isinstance(longrepr, tuple)]
        unmet = Counter(reason for reason in reasons if reason.startswith((NO_ENVIRONMENT, NO_SERVICE)))
        if count := unmet.total():
            headline = f"ephemera: {count} {'test' if count == 1 else 'tests'} SKIPPED for lack of an environment"
            terminalreporter.write_sep("=", headline, yellow=True, bold=True)
            for reason, times in unmet.items():
                terminalreporter.write_line(_shown(terminalreporter, f"{times} of them: {reason}"))
            terminalreporter.write_line("with --ephemera-require-services they fail")
        for line in self._closing_lines:
            terminalreporter.write_line(_shown(terminalreporter, line))

    def _broker(self) -> Broker:
        from ephemera.pytest_plugin.broker import Broker

        if self._made_broker is None:
            option = self._config.getoption
            self._made_broker = Broker(
                option("--ephemera-env"),
                self._tell,
                keep_on_failure=option("--ephemera-keep-on-failure"),
                config=self._settings,
            )
        return self._made_broker

    def _finish(self, session: pytest.Session) -> None:
        """Take the run's environments down, prove it, and write the counts."""
        option = self._config.getoption
        if self._made_broker is not None:
            keep = option("--ephemera-keep") or (option("--ephemera-keep-on-failure") and session.testsfailed)
            lines, status = self._made_broker.close(keep=bool(keep))
            self._closing_lines += lines
            if status == pytest.ExitCode.INTERRUPTED or session.exitstatus == pytest.ExitCode.OK:
                session.exitstatus = status
        found = both_sides.reports(self._config)
        failures = (*found.get("failed", ()), *found.get("error", ()))
        evidence = dict(each for report in failures for each in getattr(report, "user_properties", ())).get(EVIDENCE)
        if evidence is not None:
            self._closing_lines.append(f"ephemera: evidence in {evidence}")
        if summary := option("--ephemera-summary"):
            document = json.dumps({**both_sides.counts(self._config), "evidence": evidence})
            try:
                (surroundings.folder() / summary).write_text(document)
            except OSError as error:  # the tests have been run all the same
                self._closing_lines.append(f"ephemera: the counts cannot be written to {summary} ({error.strerror})")

    def _tell(self, line: str) -> None:
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        if terminal is None:
            return
        capture = self._config.pluginmanager.get_plugin("capturemanager")
        with capture.global_and_fixture_disabled() if capture is not None else nullcontext():
            terminal.write_line(_shown(terminal, line))


def services_required(asked: bool, variables: Mapping[str, str]) -> bool:
    """Return whether tests fail, instead of being skipped, when the machine cannot have their environment: when
    ``asked`` for by the option, by ``EPHEMERA_REQUIRE_SERVICES``, and in CI, where skipped tests go unnoticed."""
    if asked:
        return True
    text = variables.get("EPHEMERA_REQUIRE_SERVICES", "").lower()
    if text and text not in (*_YES, *_NO):
        raise pytest.UsageError(f"EPHEMERA_REQUIRE_SERVICES is {text!r}: it must be 1 or 0")
    return text in _YES if text else variables.get("CI", "").lower() in _YES


def _shortened() -> Iterator[Any]:
    """Shorten tracebacks of our errors in a test's call: they end at the test's line."""
    try:
        return (yield)
    except Exception as error:
        from ephemera.model.errors import EphemeraError
        from ephemera.pytest_plugin.failing import shorten

        if isinstance(error, EphemeraError):
            shorten(error)
        raise


def _settings(config: pytest.Config) -> dict[str, str]:
    option = config.getoption
    if option("--ephemera-env") and (option("--ephemera-only") or option("--ephemera-profile")):
        raise pytest.UsageError(
            "--ephemera-env names an environment that is up: "
            "--ephemera-only and --ephemera-profile are for one that is made"
        )
    named = {
        "config": option("--ephemera-config"),
        "only": option("--ephemera-only"),
        "profiles": option("--ephemera-profile"),
        "expose": option("--ephemera-expose"),
        "port_table": option("--ephemera-port-table"),
        "images": option("--ephemera-images"),
    }
    given = {key: value for key, value in named.items() if value}
    if not given:
        return {}  # a run in another project imports nothing of ours
    from ephemera.model.errors import InputError
    from ephemera.model.settings import from_flags

    try:
        return from_flags(**given, prefix="--ephemera-")
    except InputError as error:
        raise pytest.UsageError(str(error)) from None


def _shown(terminal: pytest.TerminalReporter, line: str) -> str:
    """Return ``line`` without control characters if a terminal shows it: names of services must not steer it."""
    return printable(line) if terminal.isatty else line
