"""The parts of the pytest plugin that are the same outside and inside the environment's network."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import httpx
    import psycopg

    from ephemera.model.outputs import Endpoint, EnvironmentOutputs

_HTTP_TIMEOUT_SECONDS = 10.0
_REPEATABLE: dict[str, Any] = {"action": "append", "default": []}
_SWITCH: dict[str, Any] = {"action": "store_true"}
_MADE = "in environments that the run makes,"
_OPTIONS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("env", "use this environment, which is up, and leave it", {"metavar": "STACK"}),
    (
        "only",
        f"{_MADE} start only this service and what it requires (repeatable)",
        {"metavar": "SERVICE", **_REPEATABLE},
    ),
    ("profile", f"{_MADE} add the services of a profile (repeatable)", {"metavar": "PROFILE", **_REPEATABLE}),
    ("expose", f"{_MADE} publish endpoints as loopback, dynamic, fixed or none", {"metavar": "WAY"}),
    ("port-table", f"{_MADE} take this table of fixed ports, with expose fixed", {"metavar": "TABLE"}),
    ("images", f"{_MADE} take images from registry, local or auto", {"metavar": "MODE"}),
    ("config", f"{_MADE} set KEY in the stack's config (repeatable)", {"metavar": "KEY=VALUE", **_REPEATABLE}),
    ("keep", "leave environments running after the run", _SWITCH),
    ("keep-on-failure", "leave them running when a test failed", _SWITCH),
    ("require-services", "fail, and do not skip, tests whose environment cannot be had", _SWITCH),
    ("summary", "write the counts of the run to FILE, as JSON", {"metavar": "FILE"}),
)


def add_options(parser: pytest.Parser) -> None:
    """Add the plugin's options to pytest's.

    All carry our prefix: the plugin is loaded for every project of a virtual environment, and two options of one name
    keep pytest from starting. Inside, only the summary has an effect, but a project's configuration may hold any.
    """
    group = parser.getgroup("ephemera", "ephemeral environments")
    for name, text, attributes in _OPTIONS:
        group.addoption(f"--ephemera-{name}", help=text, **attributes)


def reports(config: pytest.Config) -> dict[str, list[Any]]:
    """Return the reports so far by pytest's own category; empty with ``-p no:terminal``."""
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    return terminal.stats if terminal is not None else {}


def counts(config: pytest.Config) -> dict[str, int]:
    """Return the counts of the run as pytest's own summary has them."""
    from ephemera.model.runner import COUNTED

    found = reports(config)
    kinds = {kind: found.get("error" if kind == "errors" else kind, ()) for kind in COUNTED}
    return {kind: len(of_kind) for kind, of_kind in kinds.items() if of_kind}


class ReachableEnvironment:
    """An environment that is up: typed outputs, and clients for its services, which are closed with it."""

    def __init__(self, outputs: EnvironmentOutputs) -> None:
        self.outputs = outputs
        """The typed outputs document."""
        self.open = True
        self._closers: list[Callable[[], Any]] = []

    @property
    def stack(self) -> str:
        """Name of the stack."""
        return self.outputs.stack

    @property
    def system(self) -> str:
        """Name of the system."""
        return self.outputs.system

    def endpoint(self, service: str, name: str | None = None) -> Endpoint:
        """Return an endpoint of a service; without ``name`` its first."""
        return self.outputs.service(service).endpoint(name)

    def http(self, service: str, name: str | None = None, **options: Any) -> httpx.Client:
        """Return an HTTP client of the service; ``options`` go to :class:`httpx.Client`. Time-out 10 s, no proxy."""
        import httpx

        url = self.endpoint(service, name).url
        # The environment is on this machine: the machine's proxy has no part in it.
        client = httpx.Client(base_url=url or "", **{"timeout": _HTTP_TIMEOUT_SECONDS, "trust_env": False, **options})
        self._closers.append(client.close)
        return client

    def postgres(self, service: str = "postgres", **options: Any) -> psycopg.Connection[Any]:
        """Connect to the service's database, autocommit; ``options`` go to :func:`psycopg.connect`."""
        import psycopg

        credentials = self.outputs.service(service).credentials
        endpoint = self.endpoint(service)
        names = {"user": "user", "password": "password", "dbname": "database"}
        known = {key: credentials[name].get_secret_value() for key, name in names.items()}
        address = {"host": endpoint.host, "port": endpoint.port, "autocommit": True}
        connection: psycopg.Connection[Any] = psycopg.connect(**{**address, **known, **options})
        self._closers.append(connection.close)
        return connection

    def close(self) -> None:
        """Close the clients that were handed out; the environment goes on."""
        self.open = False
        for closer in reversed(self._closers):
            closer()
