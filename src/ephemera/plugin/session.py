"""What one pytest process knows of the run: in the controller the broker, in a worker how to reach it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import pytest

from ephemera.contract.text import printable
from ephemera.host import surroundings
from ephemera.inside.counting import Counting
from ephemera.plugin.systems import Systems, Wanted

if TYPE_CHECKING:
    from ephemera.contract.outputs import EnvironmentOutputs
    from ephemera.plugin.broker import Broker
    from ephemera.plugin.fresh import Hold
    from ephemera.plugin.running import RunningEnvironment

EVIDENCE = "ephemera_evidence"
"""Name of the property by which a report names the folder of its evidence."""

_YES, _NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


class Session:
    """One for a process. ``in_use``: environments that are open now; ``required``: see :func:`services_required`;
    ``settings``: of the environments that the run makes, key → text as in Pulumi config."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.is_worker = hasattr(config, "workerinput")
        self._controller = json.loads(config.workerinput["ephemera"]) if self.is_worker else {}  # type: ignore[attr-defined]
        if self.is_worker:
            surroundings.adopt(self._controller["surroundings"])
        self.required = services_required(config.getoption("--ephemera-require-services"), surroundings.variables())
        self.settings = _settings(config)
        self.in_use: list[RunningEnvironment] = []
        self.evidence: str | None = None
        self.closing_lines: list[str] = []
        self.counts: Counter[str] = Counter()
        self.unmet: Counter[str] = Counter()
        self.systems = Systems(config.rootpath)
        self._item: pytest.Item | None = None
        self._outputs: dict[Wanted, EnvironmentOutputs] = {}
        self._broker: Broker | None = None
        self._hold: Hold | None = None

    @property
    def broker(self) -> Broker:
        """The controller's broker, made when first asked for."""
        from ephemera.plugin.broker import Broker

        if self._broker is None:
            option = self.config.getoption
            self._broker = Broker(
                option("--ephemera-env"),
                self._tell,
                keep_on_failure=option("--ephemera-keep-on-failure"),
                config=self.settings,
            )
        return self._broker

    def for_worker(self) -> str:
        """What a worker is to know: where to ask for environments, or why it cannot, and what this process started
        with. Never raises: most runs with workers ask for no environment."""
        from ephemera.contract.errors import EphemeraError, MachineError

        try:
            answered = {"broker": self.broker.listen()}
        except EphemeraError as error:
            answered = error.document()
        except OSError as error:
            answered = MachineError(f"workers cannot ask for environments ({error})").document()
        return json.dumps({"surroundings": surroundings.handed_on(), **answered})

    @property
    def item(self) -> pytest.Item:
        """The test that is being set up, runs, or is being torn down."""
        if self._item is None:
            raise RuntimeError("no test is running")
        return self._item

    @contextmanager
    def running(self, item: pytest.Item) -> Iterator[None]:
        """While ``item`` runs."""
        self._item = item
        try:
            yield
        finally:
            self._item = None

    def open(self) -> RunningEnvironment:
        """The run's environment of the running test's system, which is up when this returns."""
        from ephemera.driver.workspace import Workspace
        from ephemera.plugin.running import RunningEnvironment

        wanted = self.systems.wanted(self.item)
        if wanted not in self._outputs:
            self._outputs[wanted] = self._ask(wanted)
        return RunningEnvironment(self._outputs[wanted], Workspace(wanted.project), required=self.required)

    def hold_data(self, *, alone: bool = False) -> None:
        """Hold the data of the running test's environment for as long as the test runs, if that is up and it uses it:
        with other tests or, when it asks for fresh data, ``alone``."""
        if not self._outputs:
            return
        fixtures = getattr(self.item, "fixturenames", ())
        wanted = self.systems.key(self.item) if alone or "environment" in fixtures else None
        if wanted is None or wanted not in self._outputs:
            return
        from ephemera.plugin.fresh import Hold

        self._hold = self._hold or Hold()
        self._hold.take(self._outputs[wanted].stack, alone=alone or "ephemera_fresh_data" in fixtures)

    def end_test(self) -> None:
        """Drop the test's databases, and let others at the data."""
        try:
            for running in self.in_use:
                running.end_test()
        finally:
            if self._hold is not None:
                self._hold.let_go()

    def finish(self, session: pytest.Session) -> None:
        """Take the run's environments down, prove it, and write the counts."""
        bad = self.counts["failed"] + self.counts["errors"]
        option = self.config.getoption
        keep = option("--ephemera-keep") or (option("--ephemera-keep-on-failure") and bad)
        if self._broker is not None:
            closed = self._broker.close(keep=bool(keep))
            self.closing_lines += closed.lines
            if closed.interrupted:
                session.exitstatus = pytest.ExitCode.INTERRUPTED
            elif closed.leftovers and session.exitstatus == pytest.ExitCode.OK:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED
        if self.evidence is not None:
            self.closing_lines.append(f"ephemera: evidence in {self.evidence}")
        if summary := self.config.getoption("--ephemera-summary"):
            try:
                (surroundings.folder() / summary).write_text(json.dumps({**self.counts, "evidence": self.evidence}))
            except OSError as error:  # the tests have been run all the same
                self.closing_lines.append(f"ephemera: the counts cannot be written to {summary} ({error.strerror})")

    def _ask(self, wanted: Wanted) -> EnvironmentOutputs:
        if self.is_worker:
            from ephemera.driver.failures import error_from_document
            from ephemera.plugin.broker import ask

            if "error" in self._controller:
                raise error_from_document(self._controller["error"])
            return ask(self._controller["broker"], wanted)
        return self.broker.environment(wanted)

    def _tell(self, line: str) -> None:
        reporter = self.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is None:
            return
        capture = self.config.pluginmanager.get_plugin("capturemanager")
        with capture.global_and_fixture_disabled() if capture is not None else nullcontext():
            reporter.write_line(_shown(reporter, line))


class Reports(Counting):
    """Counts what is reported, and remembers the evidence. For the controller."""

    def __init__(self, state: Session) -> None:
        super().__init__(state.config, state.counts)
        self._state = state

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        from ephemera.plugin.failing import NO_ENVIRONMENT, NO_SERVICE

        super().pytest_runtest_logreport(report)
        self._state.evidence = dict(report.user_properties).get(EVIDENCE, self._state.evidence)  # type: ignore[assignment]
        if report.skipped and isinstance(report.longrepr, tuple):
            reason = report.longrepr[2].removeprefix("Skipped: ")
            if reason.startswith((NO_ENVIRONMENT, NO_SERVICE)):
                self._state.unmet[reason] += 1

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if count := self._state.unmet.total():
            headline = f"ephemera: {count} {'test' if count == 1 else 'tests'} SKIPPED for lack of an environment"
            terminalreporter.write_sep("=", headline, yellow=True, bold=True)
            for reason, times in self._state.unmet.items():
                terminalreporter.write_line(_shown(terminalreporter, f"{times} of them: {reason}"))
            terminalreporter.write_line("with --ephemera-require-services they fail")
        for line in self._state.closing_lines:
            terminalreporter.write_line(_shown(terminalreporter, line))


def check_options(config: pytest.Config) -> None:
    """Refuse options that say nothing together."""
    option = config.getoption
    if option("--ephemera-env") and (option("--ephemera-only") or option("--ephemera-profile")):
        raise pytest.UsageError(
            "--ephemera-env names an environment that is up: "
            "--ephemera-only and --ephemera-profile are for one that is made"
        )


def _settings(config: pytest.Config) -> dict[str, str]:
    option = config.getoption
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
        return {}  # without a word of ours, a run in another project imports nothing of ours
    from ephemera.contract.errors import InputError
    from ephemera.contract.settings import from_flags

    try:
        return from_flags(**given, prefix="--ephemera-")
    except InputError as error:
        raise pytest.UsageError(str(error)) from None


def services_required(asked: bool, variables: Mapping[str, str]) -> bool:
    """Whether a test fails, and is not skipped, when the machine cannot have its environment: when asked for with the
    option or ``EPHEMERA_REQUIRE_SERVICES``, and in CI, where nobody reads why a test was skipped."""
    if asked:
        return True
    text = variables.get("EPHEMERA_REQUIRE_SERVICES", "").lower()
    if text and text not in (*_YES, *_NO):
        raise pytest.UsageError(f"EPHEMERA_REQUIRE_SERVICES is {text!r}: it must be 1 or 0")
    return text in _YES if text else variables.get("CI", "").lower() in _YES


def _shown(reporter: pytest.TerminalReporter, line: str) -> str:
    """What names and services are called steers no terminal."""
    return printable(line) if reporter.isatty else line
