"""State of one pytest process: the controller's broker, or a worker's way to it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING

import pytest

from ephemera.contract.text import printable
from ephemera.host import surroundings
from ephemera.inside import both_sides
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
    """State of a pytest process. ``in_use``: environments that are open now; ``required``: see
    :func:`services_required`; ``settings``: of the environments that the run makes, key → text as in Pulumi config;
    ``item``: the test that is set up, runs, or is torn down."""

    item: pytest.Item

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.is_worker = hasattr(config, "workerinput")
        if self.is_worker:
            self._address, found = config.workerinput["ephemera"]  # type: ignore[attr-defined]
            surroundings.adopt(found)
        self.required = services_required(config.getoption("--ephemera-require-services"), surroundings.variables())
        self.settings = _settings(config)
        self.in_use: list[RunningEnvironment] = []
        self.systems = Systems(config.rootpath)
        self._closing_lines: list[str] = []
        self._outputs: dict[Wanted, EnvironmentOutputs] = {}
        self._broker: Broker | None = None
        self._hold: Hold | None = None

    def for_worker(self) -> tuple[str, str]:
        """Return what a worker has to know: the broker's address, and this process's surroundings."""
        return self._made_broker().listen(), surroundings.handed_on()

    def open(self) -> RunningEnvironment:
        """Return the environment of the running test's system, made when first asked for."""
        from ephemera.driver.workspace import Workspace
        from ephemera.plugin.broker import ask
        from ephemera.plugin.running import RunningEnvironment

        wanted = self.systems.wanted(self.item)
        if wanted not in self._outputs:
            made = ask(self._address, wanted) if self.is_worker else self._made_broker().environment(wanted)
            self._outputs[wanted] = made
        return RunningEnvironment(self._outputs[wanted], Workspace(wanted.project), required=self.required)

    def hold_data(self, *, alone: bool = False) -> None:
        """Lock the data of the running test's environment until the test has ended, if it is up and the test uses it:
        shared or, for fresh data, ``alone``."""
        fixtures = getattr(self.item, "fixturenames", ())
        if not self._outputs or not (alone or "environment" in fixtures):
            return
        wanted = self.systems.key(self.item)
        if wanted is None or wanted not in self._outputs:
            return
        from ephemera.plugin.fresh import Hold

        self._hold = self._hold or Hold()
        self._hold.take(self._outputs[wanted].stack, alone=alone or "ephemera_fresh_data" in fixtures)

    def end_test(self) -> None:
        """Drop the test's databases, and unlock the data."""
        try:
            for running in self.in_use:
                running.end_test()
        finally:
            if self._hold is not None:
                self._hold.let_go()

    def finish(self, session: pytest.Session) -> None:
        """Take the run's environments down, prove it, and write the counts. For the controller."""
        option = self.config.getoption
        if self._broker is not None:
            keep = option("--ephemera-keep") or (option("--ephemera-keep-on-failure") and session.testsfailed)
            lines, status = self._broker.close(keep=bool(keep))
            self._closing_lines += lines
            if status == pytest.ExitCode.INTERRUPTED or session.exitstatus == pytest.ExitCode.OK:
                session.exitstatus = status
        found = both_sides.reports(self.config)
        properties = [
            getattr(each, "user_properties", ()) for kind in ("failed", "error") for each in found.get(kind, ())
        ]
        evidence = {name: value for each in properties for name, value in each}.get(EVIDENCE)
        if evidence is not None:
            self._closing_lines.append(f"ephemera: evidence in {evidence}")
        if summary := option("--ephemera-summary"):
            document = json.dumps({**both_sides.counts(self.config), "evidence": evidence})
            try:
                (surroundings.folder() / summary).write_text(document)
            except OSError as error:  # the tests have been run all the same
                self._closing_lines.append(f"ephemera: the counts cannot be written to {summary} ({error.strerror})")

    def summarize(self, terminal: pytest.TerminalReporter) -> None:
        """Print why tests were skipped for lack of an environment, and how the run's environments ended."""
        from ephemera.plugin.failing import NO_ENVIRONMENT, NO_SERVICE

        skipped = [each.longrepr for each in terminal.stats.get("skipped", ()) if isinstance(each.longrepr, tuple)]
        reasons = [longrepr[2].removeprefix("Skipped: ") for longrepr in skipped]
        unmet = Counter(reason for reason in reasons if reason.startswith((NO_ENVIRONMENT, NO_SERVICE)))
        if count := unmet.total():
            headline = f"ephemera: {count} {'test' if count == 1 else 'tests'} SKIPPED for lack of an environment"
            terminal.write_sep("=", headline, yellow=True, bold=True)
            for reason, times in unmet.items():
                terminal.write_line(_shown(terminal, f"{times} of them: {reason}"))
            terminal.write_line("with --ephemera-require-services they fail")
        for line in self._closing_lines:
            terminal.write_line(_shown(terminal, line))

    def _made_broker(self) -> Broker:
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

    def _tell(self, line: str) -> None:
        terminal = self.config.pluginmanager.get_plugin("terminalreporter")
        if terminal is None:
            return
        capture = self.config.pluginmanager.get_plugin("capturemanager")
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
    from ephemera.contract.errors import InputError
    from ephemera.contract.settings import from_flags

    try:
        return from_flags(**given, prefix="--ephemera-")
    except InputError as error:
        raise pytest.UsageError(str(error)) from None


def _shown(terminal: pytest.TerminalReporter, line: str) -> str:
    """Return ``line`` without control characters if a terminal shows it: names of services must not steer it."""
    return printable(line) if terminal.isatty else line
