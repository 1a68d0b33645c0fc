"""A running environment as a test sees it: typed outputs, clients for its services, and handles to break them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from ephemera.contract.catalog import find_system
from ephemera.contract.errors import EphemeraError, NoSuchEnvironmentError, UnknownNameError
from ephemera.contract.names import random_suffix
from ephemera.contract.outputs import EnvironmentOutputs
from ephemera.contract.progress import Event
from ephemera.contract.settings import meant_for
from ephemera.driver import evidence, hiding, lifecycle, recording, resetting
from ephemera.driver.services import ServiceHandle
from ephemera.driver.workspace import Workspace
from ephemera.home import leases
from ephemera.host import clock, surroundings
from ephemera.host.engine import connect
from ephemera.inside.reaching import ReachableEnvironment
from ephemera.plugin import seeding
from ephemera.plugin.failing import NO_SERVICE, failing_plainly
from ephemera.plugin.fresh import Database, DatabaseMaker

_TEXT_LENGTH = 20_000


class RunningEnvironment(ReachableEnvironment):
    """An environment that is up. Clients that it hands out are closed with it."""

    def __init__(self, outputs: EnvironmentOutputs, workspace: Workspace, *, required: bool = True) -> None:
        super().__init__(outputs)
        self._workspace = workspace
        self._required = required
        self._client = connect()
        self._since = clock.now()
        self._databases = DatabaseMaker(workspace, outputs)
        self._closers += [self._client.close, recording.start(self.stack, "tests"), self._databases.close]
        lease = leases.read(self.stack)
        self._run = (lease.run if lease else "") or evidence.new_run(self.stack)

    def database(self, service: str = "postgres", *, name_prefix: str = "test", durable: bool = False) -> Database:
        """A database of the test's own, with the data that the environment had when it became ready: cloned from a
        template that is made once. Dropped when the test has ended, or the block of a ``with``.

        It is in memory as long as there is room. ``durable``: on the disk, where it outlives a restart of the server.
        """
        return self._databases.make(service, name_prefix, durable=durable)

    def reset(self, *services: str) -> None:
        """Bring the data of these services, or of all, back to what it was when the environment became ready. Nobody
        is kept from using it meanwhile: in an environment that tests share, ask for ``ephemera_fresh_data`` instead."""
        resetting.reset(self._workspace, self.outputs, services)

    def remember(self) -> None:
        """Take the state that the data has now for the one to come back to."""
        resetting.remember(self._workspace, self.outputs)

    def seeded(self) -> None:
        """Its data is as tests are to find it. What cannot be remembered is told when somebody wants it back."""
        resetting.remember_ready(self._workspace, self.outputs, _quiet, again=True)

    def service(self, name: str) -> ServiceHandle:
        """A service: its logs and files, commands in it, and what breaks and mends it."""
        return ServiceHandle(self._client, self.stack, name, self.outputs.service(name))

    def require(self, name: str) -> ServiceHandle:
        """The service, if this environment has it; else the test is skipped, or fails where services are required.

        A service that the system does not even declare is an :class:`~ephemera.contract.errors.UnknownNameError`.
        """
        if name in self.outputs.services:
            return self.service(name)
        declared = find_system(self._workspace.catalog, self.system).services
        if name not in declared:
            raise UnknownNameError(f"service of system {self.system!r}", name, declared)
        profile = declared[name].profile
        why = f"it needs the profile {profile!r}" if profile else "it was brought up without it"
        reason = f"{NO_SERVICE}{self.stack} has no {name!r}, {why}"
        if self._required:
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)

    def evidence(self, error: EphemeraError | None = None) -> Path:
        """Keep logs and inspect of every container now, and what went wrong; the folder."""
        return evidence.collect(self._workspace, self.stack, self._run, error, outputs=self.outputs)

    def note(self, test: str, phase: str, start: float, stop: float, outcome: str, text: str) -> None:
        """Record when a test ran and how it ended, with the text of its failure; for evidence, now or later.

        Never raises, as :meth:`account`.
        """
        with suppress(Exception):
            self._note(test, phase, start, stop, outcome, text)

    def _note(self, test: str, phase: str, start: float, stop: float, outcome: str, text: str) -> None:
        if text:
            text = hiding.redactor_for(self._workspace, self.stack, self.outputs).text(text)
        text = text[-_TEXT_LENGTH:]  # a credential cut in two would be missed
        start = max(start, self._since)
        # All workers of a run share that variable; without workers there is one process.
        session = surroundings.variables().get("PYTEST_XDIST_TESTRUNUID") or str(os.getpid())
        recording.append(
            self.stack,
            "test",
            session=session,
            nodeid=test,
            phase=phase,
            start=start,
            stop=stop,
            outcome=outcome,
            text=text,
        )

    def account(self, start: float, stop: float) -> tuple[str, Path | None]:
        """What a failing test's report says: which services may be why, their lines, and the folder of the evidence.

        Never raises, which would end the whole session: an engine that is in trouble may be why the test failed, and
        what the test has put in the place of something is still there.
        """
        try:
            return evidence.account(self._workspace, self.outputs, self._run, max(start, self._since), stop)
        except Exception as error:  # noqa: BLE001
            return f"no evidence could be taken: {error!r}", None

    def end_test(self) -> None:
        """Drop the databases that were made for a test."""
        self._databases.end_of_test()


def _quiet(event: Event) -> None:
    """A test's own environment comes up without a word."""


class EnvironmentFactory:
    """Makes environments of the asking test's own, held by this process. ``settings``: the run's, key → text as in
    Pulumi config; those of a call come before them."""

    def __init__(
        self,
        workspace: Workspace,
        default_system: Callable[[], str],
        in_use: list[RunningEnvironment],
        required: bool,
        settings: Mapping[str, str],
    ) -> None:
        self._workspace = workspace
        self._default_system = default_system
        self._in_use = in_use
        self._required = required
        # Fixed ports are for the one environment that a run makes of a system: a second one finds them taken.
        fixed = {"expose", "port_table"} if settings.get("expose") == "fixed" else {"port_table"}
        self._settings = {key: text for key, text in settings.items() if key not in fixed}
        self._made: list[RunningEnvironment] = []

    def __call__(
        self,
        system: str | None = None,
        *,
        profiles: Sequence[str] | None = None,
        only: Sequence[str] | None = None,
        config: Mapping[str, str] | None = None,
        seed: bool = True,
    ) -> RunningEnvironment:
        """Bring one up and wait until it is ready. ``config``: further settings, key → text as in Pulumi config.
        ``seed``: put the suite's seed data in, if the system has some. What is not given is as the run's options say.
        """
        lists = {"profiles": profiles, "only": only}
        own = {**{key: ",".join(names) for key, names in lists.items() if names is not None}, **(config or {})}
        with failing_plainly(required=self._required):
            name = system or self._default_system()
            declared = find_system(self._workspace.catalog, name)
            settings = {**meant_for(declared, self._workspace.catalog, self._settings), **own}
            request = lifecycle.Request(
                system=name,
                suffix=random_suffix(),
                config={key: text for key, text in settings.items() if text or key not in lists},
                phase="disposable",
            )
            plant = seeding.load(declared) if seed else None
            outputs = lifecycle.up(self._workspace, request, _quiet).outputs
            running = RunningEnvironment(outputs, self._workspace, required=self._required)
            self._made.append(running)
            self._in_use.append(running)
            if plant is not None:
                seeding.seed(declared.seed, plant, RunningEnvironment(outputs, self._workspace))
        return running

    def close(self) -> None:
        """Take all of them down, whatever happens to one; one error says what went wrong, or was left behind."""
        problems = []
        while self._made:
            try:
                self._take_down(self._made.pop())
            except Exception as error:  # noqa: BLE001 - what a test put in the place of something may still be there
                problems.append(str(error))
        if problems:
            raise EphemeraError("\n".join(problems))

    def _take_down(self, running: RunningEnvironment) -> None:
        running.close()
        self._in_use.remove(running)
        with suppress(NoSuchEnvironmentError):  # the test did it
            lifecycle.proven(lifecycle.down(self._workspace, running.stack))
