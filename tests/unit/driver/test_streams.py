from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from ephemera.driver.streams import close, exchange, frames


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Our end of a connection, and the container's."""
    near, far = socket.socketpair()
    yield near, far
    near.close()
    far.close()


def _frame(kind: int, text: bytes) -> bytes:
    return bytes([kind, 0, 0, 0]) + len(text).to_bytes(4, "big") + text


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


def test_output_and_error_come_apart(ends: tuple[socket.socket, socket.socket]) -> None:
    near, far = ends
    far.sendall(_frame(1, b"one ") + _frame(2, b"wrong") + _frame(1, b"two"))
    far.close()
    assert exchange(near, None, None) == (b"one two", b"wrong")


def test_what_it_reads_ends(ends: tuple[socket.socket, socket.socket]) -> None:
    near, far = ends

    def echo() -> None:
        with far.makefile("rb") as stream:
            far.sendall(_frame(1, stream.read()))
        far.close()

    threading.Thread(target=echo, daemon=True).start()
    assert exchange(near, b"x" * 1_000_000, 20) == (b"x" * 1_000_000, b"")


def test_command_that_answers_as_it_reads(ends: tuple[socket.socket, socket.socket]) -> None:
    near, far = ends
    far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)

    def echo() -> None:
        while part := far.recv(4096):
            far.sendall(_frame(1, part))
        far.close()

    threading.Thread(target=echo, daemon=True).start()
    assert exchange(near, b"x" * 4_000_000, 20) == (b"x" * 4_000_000, b"")


def test_command_that_does_not_read_all_is_no_error(ends: tuple[socket.socket, socket.socket]) -> None:
    near, far = ends
    far.sendall(_frame(1, b"enough"))
    far.close()
    assert exchange(near, b"x" * 1_000_000, 20) == (b"enough", b"")


@pytest.mark.parametrize("said", [b"", b"\1\0\0", _frame(1, b"started")])
def test_time_is_up(ends: tuple[socket.socket, socket.socket], said: bytes) -> None:
    near, far = ends
    far.sendall(said)
    with pytest.raises(TimeoutError):
        exchange(near, None, 0.05)
