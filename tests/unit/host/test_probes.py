from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

import pytest

from ephemera.docker.ports import free_port
from ephemera.host import probes
from ephemera.host.probes import Exec, ExitZero, Http, PostgresProbe, Probe, RedisProbe, Target, Tcp

_HTTP = Http("/health")
_POSTGRES = PostgresProbe(user="app", database="shop")
_REDIS = RedisProbe()


@contextmanager
def _server(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """A TCP server that answers one connection after another; its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    answer(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:  # also of a test that fails, or it would never end
            server.shutdown(socket.SHUT_RDWR)
            thread.join(5)


def _target(
    port: int | None, execute: Callable[[Sequence[str]], int] = lambda _: 1, ended: int | None = None
) -> Target:
    return Target(host="127.0.0.1" if port else None, port=port, execute=execute, exit_code=ended)


def _says(answer: bytes, heard: list[bytes] | None = None) -> Callable[[socket.socket], None]:
    def answering(connection: socket.socket) -> None:
        question = connection.recv(4096)
        if heard is not None:
            heard.append(question)
        connection.sendall(answer)

    return answering


@pytest.mark.parametrize(
    ("answer", "ready"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.1 503 Starting\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", False),
        (b"SSH-2.0-OpenSSH\r\n", False),
        (b"", False),
    ],
    ids=["200", "500", "503", "302", "another protocol", "closed"],
)
def test_http_is_ready_when_it_answers_200(answer: bytes, ready: bool) -> None:
    with _server(_says(answer)) as port:
        assert _HTTP.ready(_target(port)) is ready


def test_http_asks_for_the_path_and_accepts_the_status_that_is_given() -> None:
    heard: list[bytes] = []
    with _server(_says(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", heard)) as port:
        assert Http("/_cluster/health?x=1", status=401).ready(_target(port))
    assert heard[0].startswith(b"GET /_cluster/health?x=1 HTTP/1.1\r\n")


_BRIEF: list[Probe] = [replace(probe, timeout_seconds=0.1) for probe in (_HTTP, _POSTGRES, _REDIS)]


@pytest.mark.parametrize("probe", _BRIEF, ids=["http", "postgres", "redis"])
def test_slow_server_is_not_waited_for(probe: Probe) -> None:
    done = threading.Event()
    with _server(lambda _: (done.wait(5), None)[1]) as port:
        started = time.monotonic()
        assert not probe.ready(_target(port))
        assert time.monotonic() - started < 2
        done.set()


@pytest.mark.parametrize("probe", _BRIEF, ids=["http", "postgres", "redis"])
def test_answer_that_trickles_has_one_time_limit_as_a_whole(probe: Probe) -> None:
    done = threading.Event()

    def trickle(connection: socket.socket) -> None:
        with suppress(OSError):  # whoever asked has gone
            while not done.wait(0.02):
                connection.sendall(b"H")

    with _server(trickle) as port:
        started = time.monotonic()
        assert not probe.ready(_target(port))
        assert time.monotonic() - started < 2
        done.set()


@dataclass(frozen=True)
class _Own(Probe):
    """A probe of one's own that answers when the test lets it."""

    answer: threading.Event
    interval_seconds: float = 0.1
    finishes: bool = False
    from_outside: bool = False
    timeout_seconds: float = 0.05

    def ready(self, target: Target) -> bool:
        return self.answer.wait(30)


def test_answer_that_does_not_come_in_time_is_no() -> None:
    answer = threading.Event()
    started = time.monotonic()
    assert not probes.answers(_Own(answer), _target(None))
    assert time.monotonic() - started < 5
    answer.set()
    assert probes.answers(_Own(answer), _target(None))


def test_postgres_is_ready_when_it_asks_for_authentication() -> None:
    heard: list[bytes] = []
    with _server(_says(b"R\x00\x00\x00\x08\x00\x00\x00\x05", heard)) as port:
        assert _POSTGRES.ready(_target(port))
    body = b"\x00\x03\x00\x00user\x00app\x00database\x00shop\x00\x00"
    assert heard == [(len(body) + 4).to_bytes(4, "big") + body]


@pytest.mark.parametrize("answer", [b"E\x00\x00\x00\x08SFATAL", b"N", b""], ids=["starting up", "no", "closed"])
def test_postgres_that_says_anything_else_is_not_ready(answer: bytes) -> None:
    with _server(_says(answer)) as port:
        assert not _POSTGRES.ready(_target(port))


@pytest.mark.parametrize(
    ("answer", "ready"),
    [
        (b"+PONG\r\n", True),
        (b"-NOAUTH Authentication required.\r\n", True),
        (b"-LOADING Redis is loading the dataset in memory\r\n", False),
        (b"-DENIED Redis is running in protected mode\r\n", False),
        (b"HTTP/1.1 400 Bad Request\r\n", False),
        (b"", False),
    ],
    ids=["pong", "asks for the password", "loading", "denied", "another protocol", "closed"],
)
def test_redis_is_ready_when_it_answers_ping(answer: bytes, ready: bool) -> None:
    heard: list[bytes] = []
    with _server(_says(answer, heard)) as port:
        assert _REDIS.ready(_target(port)) is ready
    assert heard == [b"PING\r\n"]


def test_tcp_is_ready_when_the_port_accepts() -> None:
    with _server(_says(b"")) as port:
        assert Tcp().ready(_target(port))


@pytest.mark.parametrize("probe", [Tcp(), _HTTP, _POSTGRES, _REDIS], ids=["tcp", "http", "postgres", "redis"])
def test_nobody_there_is_not_ready(probe: Probe) -> None:
    assert not probe.ready(_target(free_port("127.0.0.1")))
    assert not probe.ready(_target(None)), "nor is what publishes nothing"


def test_exec_is_ready_when_the_command_ends_with_0() -> None:
    ran: list[Sequence[str]] = []

    def execute(command: Sequence[str]) -> int:
        ran.append(command)
        return len(ran) - 1

    probe = Exec(["pg_isready", "-q"])
    assert [probe.ready(_target(None, execute)) for _ in range(2)] == [True, False]
    assert ran == [["pg_isready", "-q"]] * 2


@pytest.mark.parametrize(("ended", "ready"), [(None, False), (0, True), (1, False), (137, False)])
def test_one_shot_is_ready_when_it_ended_with_0(ended: int | None, ready: bool) -> None:
    assert ExitZero().ready(_target(None, ended=ended)) is ready
    assert ExitZero().finishes


@pytest.mark.parametrize(
    "probe",
    [
        Tcp(),
        Http("/x", status=204),
        _POSTGRES,
        _REDIS,
        Exec(("a", "b"), interval_seconds=1.0),
        ExitZero(),
    ],
    ids=lambda probe: type(probe).__name__,
)
def test_probe_survives_the_way_through_the_outputs(probe: Probe) -> None:
    assert probes.from_description(probes.describe(probe)) == probe


@dataclass(frozen=True, kw_only=True)
class NatsProbe(Probe):
    """One of a project's own."""

    greeting: str = "INFO"

    def ready(self, target: Target) -> bool:
        return self.greeting == "INFO"


def test_probe_of_ones_own_is_made_anew_from_the_outputs() -> None:
    own = NatsProbe(greeting="+OK")
    described = probes.describe(own)
    assert described == {"type": f"{__name__}:NatsProbe", "greeting": "+OK"}
    assert probes.from_description(described) == own
    assert (own.interval_seconds, own.finishes, own.from_outside, own.timeout_seconds) == (0.1, False, True, 5)


@pytest.mark.parametrize(
    "kind", ["", "NatsProbe", "no.such:Probe", "builtins:dict", f"{__name__}:test_nothing", "a b:c"]
)
def test_probe_that_cannot_be_made_anew_asks_whether_the_port_accepts(kind: str) -> None:
    assert probes.from_description({"type": kind}) == Tcp()
    assert probes.from_description({}) == Tcp()


def test_description_of_another_version_is_taken_for_what_it_says() -> None:
    old = {"type": "http", "path": "/a", "finishes": False, "from_outside": True, "since": "later"}
    assert probes.from_description(old) == Http("/a")
