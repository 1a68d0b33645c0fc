"""An environment as whoever can reach its endpoints sees it: typed outputs, and clients for its services."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ephemera.contract.outputs import Endpoint, EnvironmentOutputs

if TYPE_CHECKING:
    import httpx
    import psycopg

_HTTP_TIMEOUT_SECONDS = 10.0


class ReachableEnvironment:
    """An environment that is up. Clients that it hands out are closed with it."""

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

    def close(self) -> None:
        """Close what was handed out; the environment itself goes on."""
        self.open = False
        for closer in reversed(self._closers):
            closer()
