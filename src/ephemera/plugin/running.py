"""A running environment as a test sees it: typed outputs, clients for its services, and handles to break them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docker.errors import DockerException

from ephemera.contract.errors import EphemeraError, NoSuchEnvironmentError
from ephemera.contract.names import random_suffix
from ephemera.contract.outputs import Endpoint, EnvironmentOutputs
from ephemera.contract.progress import Event
from ephemera.driver import evidence, lifecycle
from ephemera.driver.services import ServiceHandle, log_lines
from ephemera.driver.workspace import Workspace
from ephemera.home import leases
from ephemera.host.engine import connect
from ephemera.plugin.failing import failing_plainly

if TYPE_CHECKING:
    import httpx
    import psycopg

_HTTP_TIMEOUT_SECONDS = 10.0


class RunningEnvironment:
    """An environment that is up. Clients that it hands out are closed with it."""

    def __init__(self, stack: str, workspace: Workspace | None = None) -> None:
        self._workspace = workspace or Workspace.find()
        self.outputs: EnvironmentOutputs = lifecycle.outputs(self._workspace, stack)
        """The typed outputs document."""
        self.open = True
        self._client = connect()
        self._closers: list[Callable[[], Any]] = [self._client.close]
        lease = leases.read(stack)
        self._run = (lease.run if lease else "") or evidence.new_run(stack)

    @property
    def stack(self) -> str:
        """Name of the stack."""
        return self.outputs.stack

    @property
    def system(self) -> str:
        """Name of the system."""
        return self.outputs.system

    def endpoint(self, service: str, name: str | None = None) -> Endpoint:
        """An endpoint of a service; its only or first one without ``name``."""
        return self.outputs.service(service).endpoint(name)

    def http(self, service: str, name: str | None = None, **options: Any) -> httpx.Client:
        """An HTTP client of the service. ``options``: :class:`httpx.Client`'s; default time-out 10 s, no proxy."""
        import httpx

        url = self.endpoint(service, name).url
        # The environment is on this machine: the machine's proxy has no part in it.
        client = httpx.Client(base_url=url or "", **{"timeout": _HTTP_TIMEOUT_SECONDS, "trust_env": False, **options})
        self._closers.append(client.close)
        return client

    def postgres(self, service: str = "postgres", **options: Any) -> psycopg.Connection[Any]:
        """A connection to the service's database, autocommit; ``options`` go to :func:`psycopg.connect`."""
        import psycopg

        credentials = self.outputs.service(service).credentials
        endpoint = self.endpoint(service)
        known = {
            "host": endpoint.host,
            "port": endpoint.port,
            "user": credentials["user"].get_secret_value(),
            "password": credentials["password"].get_secret_value(),
            "dbname": credentials["database"].get_secret_value(),
            "autocommit": True,
        }
        connection: psycopg.Connection[Any] = psycopg.connect(**{**known, **options})
        self._closers.append(connection.close)
        return connection

    def service(self, name: str) -> ServiceHandle:
        """A service: logs, exec, restart, kill, stop, start, pause, wait_ready."""
        return ServiceHandle(self._client, self.stack, name, self.outputs.service(name))

    def evidence(self) -> Path:
        """Keep logs and inspect of every container now; the folder."""
        return evidence.collect(self._workspace, self.stack, self._run)

    def account(self, count: int) -> tuple[str, Path | None]:
        """What a failing test's report says: the services' last ``count`` lines, and the folder of the evidence.

        Never raises for an engine that is in trouble: that may be why the test failed.
        """
        try:
            folder = self.evidence()
            return f"{self.last_lines(count)}\nevidence: {folder}", folder
        except (EphemeraError, DockerException, OSError) as error:
            return f"no evidence could be taken: {error}", None

    def last_lines(self, count: int) -> str:
        """The last ``count`` lines of every service."""
        lines: list[str] = []
        for service in self.outputs.services:
            found = [line for _, _, line in log_lines(self._client, self.stack, service)][-count:]
            lines += [f"{service} | {line}" for line in found]
        return evidence.redacted("\n".join(lines), self.outputs)

    def close(self) -> None:
        """Close what was handed out; the environment itself goes on."""
        self.open = False
        for closer in reversed(self._closers):
            closer()


def _quiet(event: Event) -> None:
    """A test's own environment comes up without a word."""


class EnvironmentFactory:
    """Makes environments of the asking test's own, held by this process."""

    def __init__(self, folder: Path, default_system: Callable[[], str], in_use: list[RunningEnvironment]) -> None:
        self._workspace = Workspace.find(folder)
        self._default_system = default_system
        self._in_use = in_use
        self._made: list[RunningEnvironment] = []

    def __call__(
        self,
        system: str | None = None,
        *,
        profiles: Sequence[str] = (),
        only: Sequence[str] = (),
        config: Mapping[str, str] | None = None,
    ) -> RunningEnvironment:
        """Bring one up and wait until it is ready. ``config``: further settings, key → text as in Pulumi config."""
        settings = {"profiles": ",".join(profiles), "only": ",".join(only)}
        with failing_plainly():
            request = lifecycle.Request(
                system=system or self._default_system(),
                suffix=random_suffix(),
                config={**{key: value for key, value in settings.items() if value}, **(config or {})},
                phase="disposable",
            )
            ready = lifecycle.up(self._workspace, request, _quiet)
            running = RunningEnvironment(ready.outputs.stack, self._workspace)
        self._made.append(running)
        self._in_use.append(running)
        return running

    def close(self) -> None:
        """Take all of them down, whatever happens to one; one error says what went wrong, or was left behind."""
        problems = []
        while self._made:
            try:
                self._take_down(self._made.pop())
            except EphemeraError as error:
                problems.append(str(error))
        if problems:
            raise EphemeraError("\n".join(problems))

    def _take_down(self, running: RunningEnvironment) -> None:
        running.close()
        self._in_use.remove(running)
        with suppress(NoSuchEnvironmentError):  # the test did it
            lifecycle.proven(lifecycle.down(self._workspace, running.stack))
