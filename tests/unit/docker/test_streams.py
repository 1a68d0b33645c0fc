from __future__ import annotations

import io
import os
import resource
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ephemera.docker.streams import STDERR, STDOUT, Conversation, close, frames
from tests.unit.doubles import frame as _frame


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Our end of a connection, and the container's."""
    near, far = socket.socketpair()
    yield near, far
    near.close()
    far.close()


def _exchanged(stream: Any, data: bytes | None, timeout_seconds: float | None) -> tuple[bytes, bytes]:
    """Standard output and error of a command that is sent ``data``."""
    said = {STDOUT: b"", STDERR: b""}

    def show(kind: int, part: bytes) -> None:
        said[kind] += part

    Conversation(stream, data).run(show, timeout_seconds)
    return said[STDOUT], said[STDERR]


def test_close_closes_the_connection_beneath_too(ends: tuple[socket.socket, socket.socket]) -> None:
    near, far = ends
    wrapped = near.makefile("rb", buffering=0)  # as docker-py hands it out over a Unix socket
    close(wrapped)
    assert wrapped.closed
    assert near.fileno() == -1
    assert far.recv(1) == b""


def test_frames_come_as_they_are_said(ends: tuple[socket.socket, socket.socket]) -> None:
    near, far = ends
    coming = frames(near)
    far.sendall(_frame(1, b"one"))
    assert next(coming) == (1, b"one")
    far.sendall(_frame(2, b"two"))
    assert next(coming) == (2, b"two")
    far.close()
    assert list(coming) == []


def test_a_reader_of_frames_leaves_the_next_one_what_it_has_not_given(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    near, far = ends
    far.sendall(_frame(1, b"one") + _frame(2, b"two"))
    far.close()
    assert next(frames(near)) == (1, b"one")
    assert next(frames(near)) == (2, b"two")


def test_output_and_error_come_apart(ends: tuple[socket.socket, socket.socket]) -> None:
    near, far = ends
    far.sendall(_frame(1, b"one ") + _frame(2, b"wrong") + _frame(1, b"two"))
    far.close()
    assert _exchanged(near, None, None) == (b"one two", b"wrong")


def test_command_that_answers_as_it_reads(ends: tuple[socket.socket, socket.socket]) -> None:
    near, far = ends
    far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)

    def echo() -> None:
        while part := far.recv(4096):
            far.sendall(_frame(1, part))
        far.close()

    threading.Thread(target=echo, daemon=True).start()
    assert _exchanged(near, b"x" * 4_000_000, 20) == (b"x" * 4_000_000, b"")


def test_command_that_does_not_read_all_is_no_error(ends: tuple[socket.socket, socket.socket]) -> None:
    near, far = ends
    far.sendall(_frame(1, b"enough"))
    far.close()
    assert _exchanged(near, b"x" * 1_000_000, 20) == (b"enough", b"")


@pytest.mark.parametrize("said", [b"", b"\1\0\0", _frame(1, b"started")])
def test_time_is_up(ends: tuple[socket.socket, socket.socket], said: bytes) -> None:
    near, far = ends
    far.sendall(said)
    with pytest.raises(TimeoutError):
        _exchanged(near, None, 0.05)


def test_what_came_with_the_head_of_the_answer_is_not_lost(ends: tuple[socket.socket, socket.socket]) -> None:
    near, far = ends
    far.sendall(b"HTTP/1.1 101 UPGRADED\r\n\r\n" + _frame(1, b"early"))
    reader = io.BufferedReader(near.makefile("rb", buffering=0))
    assert reader.readline() + reader.readline() == b"HTTP/1.1 101 UPGRADED\r\n\r\n"

    class Stream:
        """As docker-py hands it out: the connection, and the answer that it was found through."""

        _sock = near

        class _response:
            class raw:
                class _fp:
                    fp = reader

    far.sendall(_frame(2, b" and late"))
    far.close()
    assert _exchanged(Stream(), None, 10) == (b"early", b" and late")
    reader.close()


def test_a_source_is_passed_on_in_little_memory(ends: tuple[socket.socket, socket.socket]) -> None:
    near, far = ends
    reading, writing = os.pipe()
    size = 64 * 2**20
    counted: list[int] = []

    def feed() -> None:
        with os.fdopen(writing, "wb") as pipe:
            for _ in range(64):
                pipe.write(bytes(2**20))

    def count() -> None:
        total = 0
        while part := far.recv(2**16):
            total += len(part)
        counted.append(total)
        far.sendall(_frame(1, b"done"))
        far.close()

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    threads = [threading.Thread(target=work, daemon=True) for work in (feed, count)]
    for thread in threads:
        thread.start()
    said: list[tuple[int, bytes]] = []
    Conversation(near, reading).run(lambda *part: said.append(part), 60)
    os.close(reading)
    assert (counted, said) == ([size], [(STDOUT, b"done")])
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < size / 2


def test_a_source_that_never_ends_keeps_nothing_alive(ends: tuple[socket.socket, socket.socket]) -> None:
    near, far = ends
    reading, writing = os.pipe()
    far.sendall(_frame(1, b"enough"))
    far.close()
    said: list[bytes] = []
    Conversation(near, reading).run(lambda _, part: said.append(part), 20)
    os.close(reading)
    os.close(writing)
    assert said == [b"enough"]


def test_output_comes_before_its_frame_is_whole(ends: tuple[socket.socket, socket.socket]) -> None:
    near, far = ends
    said: list[tuple[int, bytes]] = []

    class Seen(Exception):
        pass

    def show(kind: int, part: bytes) -> None:
        said.append((kind, part))
        raise Seen

    far.sendall(_frame(2, b"x" * 1000)[:100])
    conversation = Conversation(near, None)
    with pytest.raises(Seen):
        conversation.run(show, 10)
    assert said == [(STDERR, b"x" * 92)]
    far.sendall(_frame(2, b"x" * 1000)[100:])
    far.close()
    conversation.run(lambda *part: said.append(part), 10)
    assert b"".join(part for _, part in said) == b"x" * 1000, "an interrupted conversation goes on where it was"


def test_end_of_input_over_tls_is_told_and_output_still_comes(
    ends: tuple[socket.socket, socket.socket], tmp_path: Path
) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    wanted = f"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=engine -keyout {key}"
    subprocess.run(
        ["openssl", *wanted.split(), "-out", str(certificate)],
        check=True,
        capture_output=True,
        timeout=30,
    )
    near, far = ends
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    client = ssl.create_default_context(cafile=str(certificate))
    client.check_hostname = False

    def echo() -> None:
        with server.wrap_socket(far, server_side=True) as engine:
            given = bytearray()
            engine.sendall(_frame(1, b"ready "))
            while part := engine.recv(2**16):
                given += part
            engine.sendall(_frame(1, bytes(given)))

    thread = threading.Thread(target=echo, daemon=True)
    thread.start()
    with client.wrap_socket(near) as engine:
        assert _exchanged(engine, b"x" * 3_000_000, 30) == (b"ready " + b"x" * 3_000_000, b"")
    thread.join(10)
