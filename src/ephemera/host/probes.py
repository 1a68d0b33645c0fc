"""Probes: how a service is asked whether it is ready, in its own protocol, from outside where it is published.

Each is a small class with one method. A probe answers yes or no and never raises for a service that is not there yet;
what makes waiting pointless (the container exited) is the gate's business. Each answer has a time limit, whatever the
service does: ``timeout_seconds``.
"""

from __future__ import annotations

import http.client
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from typing import Any

from ephemera.host import clock
from ephemera.host.deadline import within
from ephemera.model.errors import InputError
from ephemera.model.system import imported

_NETWORK_SECONDS = 2.0
_COMMAND_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a probe may ask. ``host``/``port``: the published endpoint, None where nothing is published.
    ``execute``: run a command in the container, exit code back. ``exit_code``: of the container, None while it runs."""

    host: str | None
    port: int | None
    execute: Callable[[Sequence[str]], int]
    exit_code: int | None


class Probe:
    """One question. A probe of your own is a subclass with :meth:`ready`; as a frozen dataclass it can be asked again
    by commands that do not run the program."""

    interval_seconds: float = 0.1
    """Pause between two asks."""
    finishes: bool = False
    """Whether ready means that the container has exited with 0."""
    from_outside: bool = True
    """Whether it asks through a published endpoint."""
    timeout_seconds: float = _COMMAND_SECONDS
    """How long one answer may take."""

    def ready(self, target: Target) -> bool:
        """Return whether the service is ready now."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Tcp(Probe):
    """The port accepts a connection. Docker's proxy accepts before the service does: prefer a protocol."""

    interval_seconds: float = 0.03
    timeout_seconds: float = _NETWORK_SECONDS

    def ready(self, target: Target) -> bool:
        try:
            with _connected(target, self.timeout_seconds):
                return True
        except OSError:
            return False


@dataclass(frozen=True, kw_only=True)
class Http(Probe):
    """``GET path`` answers with ``status``."""

    path: str = field(default="/health", kw_only=False)
    status: int = 200
    interval_seconds: float = 0.03
    timeout_seconds: float = _NETWORK_SECONDS

    def ready(self, target: Target) -> bool:
        try:
            connection = http.client.HTTPConnection(*_published(target))
            connection.sock = _connected(target, self.timeout_seconds)
            with closing(connection):
                connection.request("GET", self.path)
                return connection.getresponse().status == self.status
        except (OSError, http.client.HTTPException):
            return False


@dataclass(frozen=True, kw_only=True)
class PostgresProbe(Probe):
    """The server answers a start-up message with an authentication request, or takes the user at once.

    Protocol 3.0 start-up message: length, 196608, ``user``/``database`` pairs; the answer's first byte is ``R``
    (PostgreSQL documentation, "Message Formats"). While the server starts it answers ``E`` (57P03).
    """

    user: str
    database: str
    interval_seconds: float = 0.03
    timeout_seconds: float = _NETWORK_SECONDS

    def ready(self, target: Target) -> bool:
        parts = ("user", self.user, "database", self.database)
        body = (196608).to_bytes(4, "big") + b"".join(part.encode() + b"\0" for part in parts) + b"\0"
        return _ask(target, self.timeout_seconds, (len(body) + 4).to_bytes(4, "big") + body, b"R")


@dataclass(frozen=True, kw_only=True)
class RedisProbe(Probe):
    """The server answers ``PING``, or asks for the password first.

    An inline command, the answer a simple string or an error (Redis documentation, "RESP protocol specification").
    While the server loads its data it answers ``-LOADING``.
    """

    interval_seconds: float = 0.03
    timeout_seconds: float = _NETWORK_SECONDS

    def ready(self, target: Target) -> bool:
        return _ask(target, self.timeout_seconds, b"PING\r\n", b"+PONG", b"-NOAU")


@dataclass(frozen=True, kw_only=True)
class Exec(Probe):
    """A command in the container exits with 0: for services that publish nothing.

    One that takes longer than ``timeout_seconds`` is left to itself there, since Docker ends no single command, and
    another one is started.
    """

    command: Sequence[str] = field(kw_only=False)
    interval_seconds: float = 0.2
    from_outside: bool = False
    timeout_seconds: float = _COMMAND_SECONDS

    def ready(self, target: Target) -> bool:
        return target.execute(self.command) == 0


@dataclass(frozen=True, kw_only=True)
class ExitZero(Probe):
    """The container has ended with exit code 0: for one-shots."""

    interval_seconds: float = 5.0
    finishes: bool = True
    from_outside: bool = False

    def ready(self, target: Target) -> bool:
        return target.exit_code == 0


_BY_TYPE: Mapping[str, type[Any]] = {
    "tcp": Tcp,
    "http": Http,
    "postgres": PostgresProbe,
    "redis": RedisProbe,
    "exec": Exec,
    "exit_zero": ExitZero,
}


def answers(probe: Probe, target: Target) -> bool:
    """Return whether the service is ready now; no as well when that is not said within the probe's time limit."""
    try:
        return within(probe.timeout_seconds, lambda: probe.ready(target), "probe")
    except TimeoutError:
        return False


def describe(probe: Probe) -> dict[str, Any]:
    """Return the probe as plain values, for the outputs document: a class of one's own by ``module:NAME``."""
    kind = next((name for name, kind in _BY_TYPE.items() if type(probe) is kind), None)
    values: dict[str, Any] = asdict(probe) if is_dataclass(probe) else {}
    return {"type": kind or f"{type(probe).__module__}:{type(probe).__qualname__}", **values}


def from_description(description: Mapping[str, Any]) -> Probe:
    """Return the probe that ``description`` was made from; of a class that cannot be imported, one that asks whether
    the port accepts."""
    name = description.get("type", "")
    try:
        kind = _BY_TYPE[name] if name in _BY_TYPE else imported(name, type)
        values = {each.name: description[each.name] for each in fields(kind) if each.name in description}
        probe = kind(**values)
    except (InputError, TypeError):  # no class, or one that is made otherwise
        return Tcp()
    return probe if isinstance(probe, Probe) else Tcp()


def _ask(target: Target, seconds: float, question: bytes, *expected: bytes) -> bool:
    """Whether the answer begins with one of ``expected``, which are of one length."""
    try:
        with _connected(target, seconds) as connection:
            connection.sendall(question)
            return connection.recv(len(expected[0])) in expected
    except OSError:
        return False


class _Limited(socket.socket):
    """A connection with one deadline for all that is received: an answer may trickle, a byte at a time, for ever."""

    deadline: float

    def recv_into(self, *arguments: Any) -> int:
        self.settimeout(_left(self.deadline))
        return super().recv_into(*arguments)

    def recv(self, *arguments: Any) -> bytes:
        self.settimeout(_left(self.deadline))
        return super().recv(*arguments)


def _connected(target: Target, seconds: float) -> socket.socket:
    deadline = clock.monotonic() + seconds
    connection = _Limited(fileno=socket.create_connection(_published(target), timeout=seconds).detach())
    connection.deadline = deadline
    connection.settimeout(_left(deadline))
    return connection


def _left(deadline: float) -> float:
    left = deadline - clock.monotonic()
    if left <= 0:
        raise TimeoutError("no whole answer in time")
    return left


def _published(target: Target) -> tuple[str, int]:
    if target.host is None or target.port is None:
        raise OSError("nothing is published")
    return target.host, target.port
