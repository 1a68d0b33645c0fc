"""A running environment as a test sees it: typed outputs, clients for its services, and handles to break them."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from docker.errors import DockerException

from ephemera import lifecycle
from ephemera.docker.connection import connect
from ephemera.docker.services import ServiceHandle
from ephemera.home import leases
from ephemera.host import clock, surroundings
from ephemera.inside.both_sides import ReachableEnvironment
from ephemera.lifecycle import resetting
from ephemera.model.catalog import Manifest, find_system
from ephemera.model.errors import EngineError, EphemeraError, NoSuchEnvironmentError, UnknownNameError
from ephemera.model.names import random_suffix
from ephemera.model.outputs import EnvironmentOutputs
from ephemera.model.progress import Event
from ephemera.model.settings import meant_for
from ephemera.model.system import imported
from ephemera.observe import evidence, hiding, recording
from ephemera.pulumi.workspace import Workspace
from ephemera.pytest_plugin.failing import NO_SERVICE, failing_plainly, shorten
from ephemera.pytest_plugin.fresh import Database, DatabaseMaker

_TEXT_LENGTH = 20_000
_SEED_LINES = 12

Seed = Callable[["RunningEnvironment"], None]


class SeedError(EngineError):
    """The system's seed raised; ``output`` holds the last lines of its traceback."""

    kind = "seed"


def load_seed(system: Manifest) -> Seed | None:
    """Import the system's seed, if it has one; raise :class:`~ephemera.model.errors.InputError` if that fails."""
    if not system.seed:
        return None
    function: Seed = imported(system.seed, Callable)
    return function


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
        """Make a database for the test, with the data that the environment had when it became ready: cloned from a
        template that is made once. Dropped when the test has ended, or the block of a ``with``.

        It is in memory as long as there is room. ``durable``: on the disk, where it outlives a restart of the server.
        """
        return self._databases.make(service, name_prefix, durable=durable)

    def reset(self, *services: str) -> None:
        """Bring the data of these services, or of all, back to what it was when the environment became ready.

        Takes no lock: in an environment that tests share, ask for ``ephemera_fresh_data`` instead.
        """
        resetting.reset(self._workspace, self.outputs, services)

    def remember(self) -> None:
        """Save the current data as the reset point."""
        resetting.remember(self._workspace, self.outputs)

    def seed(self, name: str, function: Seed) -> float:
        """Seed this environment with ``function``, close it, and save the seeded data as the reset point; seconds.

        Raises :class:`SeedError`, after evidence was taken.
        """
        started = clock.monotonic()
        try:
            function(self)
        # A test's own means to end, used in a seed, are no more than any other exception: no test is running.
        except (Exception, pytest.fail.Exception, pytest.skip.Exception) as error:
            failure = _seed_error(name, self.stack, error)
            with suppress(EphemeraError, DockerException, OSError):  # Docker in trouble may be the cause
                failure.output += (f"evidence: {self.evidence(failure)}",)
            raise failure from error
        finally:
            self.close()
        leases.change(self.stack, seeded=True)
        resetting.remember_ready(self._workspace, self.outputs, _quiet, again=True)
        return clock.monotonic() - started

    def service(self, name: str) -> ServiceHandle:
        """Return a service: its logs and files, commands in it, and means to break and mend it."""
        return ServiceHandle(self._client, self.stack, name, self.outputs.service(name))

    def require(self, name: str) -> ServiceHandle:
        """Return the service if this environment has it; else skip the test, or fail it where services are required.

        Raises :class:`~ephemera.model.errors.UnknownNameError` if the system does not declare it.
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
        """Keep logs and inspect of every container now, and ``error``; the folder."""
        return evidence.collect(self._workspace, self.stack, self._run, error, outputs=self.outputs)

    def note(self, test: str, phase: str, start: float, stop: float, outcome: str, text: str) -> None:
        """Record when a test ran and how it ended, with the text of its failure, for evidence.

        Never raises, like :meth:`account`.
        """
        with suppress(Exception):
            recording.append(
                self.stack,
                "test",
                # All workers of a run share that variable; without workers there is one process.
                session=surroundings.variables().get("PYTEST_XDIST_TESTRUNUID") or str(os.getpid()),
                nodeid=test,
                phase=phase,
                start=max(start, self._since),
                stop=stop,
                outcome=outcome,
                # Redacted before it is cut: a credential cut in two would be missed.
                text=text and hiding.redactor_for(self._workspace, self.stack, self.outputs).text(text)[-_TEXT_LENGTH:],
            )

    def account(self, start: float, stop: float) -> tuple[str, Path | None]:
        """Return text for a failing test's report (suspect services and their lines), and the folder of the evidence.

        Never raises, which would end the session: trouble with Docker may be why the test failed, and its
        monkeypatches are still in place.
        """
        try:
            return evidence.account(self._workspace, self.outputs, self._run, max(start, self._since), stop)
        except Exception as error:  # noqa: BLE001
            return f"no evidence could be taken: {error!r}", None

    def end_test(self) -> None:
        """Drop the databases that were made for a test."""
        self._databases.end_of_test()


class EnvironmentFactory:
    """Makes environments for one test or module; this process holds them. ``settings``: the run's, key → text as in
    Pulumi config. ``in_use``: list of open environments, which it keeps up to date."""

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
        """Bring an environment up and wait until it is ready.

        ``config``: further settings, key → text as in Pulumi config; settings that are not given are the run's.
        ``seed``: put the system's seed data in, if it has some.
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
            function = load_seed(declared) if seed else None
            outputs = lifecycle.up(self._workspace, request, _quiet).outputs
            running = RunningEnvironment(outputs, self._workspace, required=self._required)
            self._made.append(running)
            self._in_use.append(running)
            if function is not None:
                RunningEnvironment(outputs, self._workspace).seed(declared.seed, function)
        return running

    def close(self) -> None:
        """Take all of them down; raise one error that names all that went wrong or was left behind."""
        problems = []
        for running in reversed(self._made):
            try:
                running.close()
                self._in_use.remove(running)
                with suppress(NoSuchEnvironmentError):  # the test did it
                    lifecycle.proven(lifecycle.down(self._workspace, running.stack))
            except Exception as error:  # noqa: BLE001 - a test's monkeypatches may still be in place
                problems.append(str(error))
        if problems:
            raise EphemeraError("\n".join(problems))


def _seed_error(name: str, stack: str, error: BaseException) -> SeedError:
    if isinstance(error, EphemeraError):
        shorten(error)
    told = traceback.TracebackException.from_exception(error)
    told.stack[:] = told.stack[1:]  # the first frame is ours, which called it
    first = next(told.format_exception_only()).strip()
    lines = "".join(told.format(chain=False)).splitlines()
    return SeedError(f"seed {name!r} failed in {stack}", remedy=first, output=lines[-_SEED_LINES:])


def _quiet(event: Event) -> None:
    """Ignore progress: a test's own environment comes up silently."""
