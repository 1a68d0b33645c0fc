"""Probes: how a service is asked whether it is ready, in its own protocol, from outside where it is published.

Each is a small class with one method. A probe answers yes or no at once and never raises for a service that is not
there yet; what makes waiting pointless (the container exited) is the gate's business.
"""

from __future__ import annotations

import http.client
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any, Protocol

_TIMEOUT_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a probe may ask. ``host``/``port``: the published endpoint, None where nothing is published.
    ``execute``: run a command in the container, exit code back. ``exit_code``: of the container, None while it runs."""

    host: str | None
    port: int | None
    execute: Callable[[Sequence[str]], int]
    exit_code: int | None


class Probe(Protocol):
    """One question."""

    @property
    def interval_seconds(self) -> float:
        """Pause between two asks."""
        ...

    @property
    def finishes(self) -> bool:
        """Whether ready means that the container has exited with 0."""
        ...

    @property
    def from_outside(self) -> bool:
        """Whether it asks through a published endpoint."""
        ...

    def ready(self, target: Target) -> bool:
        """Whether the service is ready now."""
        ...


@dataclass(frozen=True, kw_only=True)
class TcpProbe:
    """The port accepts a connection. Docker's proxy accepts before the service does: prefer a protocol."""

    interval_seconds: float = 0.03
    finishes: bool = False
    from_outside: bool = True

    def ready(self, target: Target) -> bool:
        try:
            with _connected(target):
                return True
        except OSError:
            return False


@dataclass(frozen=True, kw_only=True)
class HttpProbe:
    """``GET path`` answers with ``status``."""

    path: str = "/health"
    status: int = 200
    interval_seconds: float = 0.03
    finishes: bool = False
    from_outside: bool = True

    def ready(self, target: Target) -> bool:
        try:
            host, port = _published(target)
            with closing(http.client.HTTPConnection(host, port, timeout=_TIMEOUT_SECONDS)) as connection:
                connection.request("GET", self.path)
                return connection.getresponse().status == self.status
        except (OSError, http.client.HTTPException):
            return False


@dataclass(frozen=True, kw_only=True)
class PostgresProbe:
    """The server answers a start-up message with an authentication request, or takes the user at once.

    Protocol 3.0 start-up message: length, 196608, ``user``/``database`` pairs; the answer's first byte is ``R``
    (PostgreSQL documentation, "Message Formats"). While the server starts it answers ``E`` (57P03).
    """

    user: str
    database: str
    interval_seconds: float = 0.03
    finishes: bool = False
    from_outside: bool = True

    def ready(self, target: Target) -> bool:
        fields = ("user", self.user, "database", self.database)
        body = (196608).to_bytes(4, "big") + b"".join(field.encode() + b"\0" for field in fields) + b"\0"
        return _ask(target, (len(body) + 4).to_bytes(4, "big") + body, b"R")


@dataclass(frozen=True, kw_only=True)
class RedisProbe:
    """The server answers ``PING``, or asks for the password first.

    An inline command, the answer a simple string or an error (Redis documentation, "RESP protocol specification").
    While the server loads its data it answers ``-LOADING``.
    """

    interval_seconds: float = 0.03
    finishes: bool = False
    from_outside: bool = True

    def ready(self, target: Target) -> bool:
        return _ask(target, b"PING\r\n", b"+PONG", b"-NOAU")


@dataclass(frozen=True, kw_only=True)
class ExecProbe:
    """A command in the container exits with 0: for services that publish nothing."""

    command: Sequence[str]
    interval_seconds: float = 0.2
    finishes: bool = False
    from_outside: bool = False

    def ready(self, target: Target) -> bool:
        return target.execute(self.command) == 0


@dataclass(frozen=True, kw_only=True)
class ExitZeroProbe:
    """The container has ended with exit code 0: for one-shots."""

    interval_seconds: float = 5.0
    finishes: bool = True
    from_outside: bool = False

    def ready(self, target: Target) -> bool:
        return target.exit_code == 0


_BY_TYPE: Mapping[str, type[Any]] = {
    "tcp": TcpProbe,
    "http": HttpProbe,
    "postgres": PostgresProbe,
    "redis": RedisProbe,
    "exec": ExecProbe,
    "exit_zero": ExitZeroProbe,
}


def describe(probe: Probe) -> dict[str, Any]:
    """The probe as plain values, for the outputs document; a probe of somebody else's class has only its name."""
    for name, kind in _BY_TYPE.items():
        if isinstance(probe, kind):
            return {"type": name, **asdict(probe)}
    return {"type": type(probe).__name__}


def from_description(description: Mapping[str, Any]) -> Probe:
    """The probe that ``description`` was made from; one of an unknown class asks whether the port accepts."""
    values = dict(description)
    kind = _BY_TYPE.get(values.pop("type", ""))
    if kind is None:
        return TcpProbe()
    probe: Probe = kind(**values)
    return probe


def _ask(target: Target, question: bytes, *expected: bytes) -> bool:
    """Whether the answer begins with one of ``expected``, which are of one length."""
    try:
        with _connected(target) as connection:
            connection.sendall(question)
            return connection.recv(len(expected[0])) in expected
    except OSError:
        return False


def _connected(target: Target) -> socket.socket:
    connection = socket.create_connection(_published(target), timeout=_TIMEOUT_SECONDS)
    connection.settimeout(_TIMEOUT_SECONDS)
    return connection


def _published(target: Target) -> tuple[str, int]:
    if target.host is None or target.port is None:
        raise OSError("nothing is published")
    return target.host, target.port
