"""Input and output of a command in a container, over the connection that Docker hands out for it."""

from __future__ import annotations

import math
import os
import select
import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from ephemera.host import clock

STDOUT, STDERR = 1, 2
_HEADER = struct.Struct(">BxxxL")
AT_ONCE = 64 * 1024
# An SSL connection is not done with it: what was read from the network may be decrypted already.
_AGAIN = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Conversation:
    """Both directions of a command's streams, by one thread, in little memory: what is not read on one side is not
    taken from the other. After an exception of ``show``, it can go on."""

    def __init__(self, stream: Any, source: bytes | int | None) -> None:
        """``source``: what the command reads, or the descriptor that it comes from; its end is passed on."""
        self._connection = _beneath(stream)
        self._connection.setblocking(False)
        self._arrived = bytearray(_early(stream))
        self._kind = 0
        self._rest = 0
        self._source = source if isinstance(source, int) else None
        self._sending = memoryview(source if isinstance(source, bytes) else b"")
        self._open = source is not None
        self._ended = False

    def run(self, show: Callable[[int, bytes], object], timeout_seconds: float | None = None) -> None:
        """Call ``show`` with ``STDOUT`` or ``STDERR`` and the command's output as it comes, until it has ended.

        Raises :class:`TimeoutError` when it has not ended after ``timeout_seconds``.
        """
        deadline = math.inf if timeout_seconds is None else clock.monotonic() + timeout_seconds
        self._said(show)
        while not self._ended:
            if self._open and not self._sending and self._source is None:
                self._end_input()
            ready = self._ready(deadline)
            state = ready.get(self._connection.fileno(), 0)
            if state & select.POLLOUT:
                self._send()
            if self._source is not None and self._source in ready:
                self._fetch(self._source)
            if state & ~select.POLLOUT:
                self._receive()
                self._said(show)

    def close_input(self) -> None:
        """Send nothing more."""
        self._source, self._sending = None, memoryview(b"")
        self._end_input()

    def _ready(self, deadline: float) -> dict[int, int]:
        """Wait, and return by descriptor what can be done with it: the connection's, and the source's."""
        wanted = select.poll()
        wanted.register(self._connection, select.POLLIN | (select.POLLOUT if self._sending else 0))
        if self._source is not None and not self._sending:
            wanted.register(self._source, select.POLLIN)
        rest = deadline - clock.monotonic()
        if rest <= 0:
            raise TimeoutError
        if isinstance(self._connection, ssl.SSLSocket) and self._connection.pending():
            return {**dict(wanted.poll(0)), self._connection.fileno(): select.POLLIN}
        return dict(wanted.poll(None if rest == math.inf else rest * 1000))

    def _fetch(self, source: int) -> None:
        try:
            self._sending = memoryview(os.read(source, AT_ONCE))
        except BlockingIOError:
            return
        except OSError:  # a terminal that went away, a descriptor that cannot be read
            self._sending = memoryview(b"")
        if not self._sending:
            self._source = None

    def _send(self) -> None:
        try:
            sent = self._connection.send(self._sending[:AT_ONCE])
            self._sending = self._sending[sent:]
        except _AGAIN:
            pass
        except OSError:  # it ended without reading all of it
            self._source, self._sending, self._open = None, memoryview(b""), False

    def _end_input(self) -> None:
        if not self._open:
            return
        self._open = False
        with suppress(OSError):
            if isinstance(self._connection, ssl.SSLSocket):
                # Says that nothing more comes, and does not wait until the other side says so too.
                self._connection.unwrap()
            else:
                self._connection.shutdown(socket.SHUT_WR)

    def _receive(self) -> None:
        try:
            part = self._connection.recv(AT_ONCE)
        except _AGAIN:
            return
        except OSError:
            part = b""
        self._arrived += part
        self._ended = not part

    def _said(self, show: Callable[[int, bytes], object]) -> None:
        """Show what has arrived, also of a frame whose end is on its way."""
        while self._arrived:
            if not self._rest:
                if len(self._arrived) < _HEADER.size:
                    return
                kind, self._rest = _HEADER.unpack_from(self._arrived)
                self._kind = STDERR if kind == STDERR else STDOUT
                del self._arrived[: _HEADER.size]
            part = bytes(self._arrived[: self._rest])
            del self._arrived[: len(part)]
            self._rest -= len(part)
            if part:
                show(self._kind, part)


def frames(stream: Any) -> Iterator[tuple[int, bytes]]:
    """Yield ``STDOUT`` or ``STDERR`` and the output as it comes, until the connection ends. No byte more than a frame's
    is read: an interrupted reader may be followed by another."""
    connection = _beneath(stream)
    connection.settimeout(None)
    while header := _received(connection, _HEADER.size):
        kind, length = _HEADER.unpack(header)
        yield kind, _received(connection, length)


def close(stream: Any) -> None:
    """Close ``stream`` and the connection beneath it, which docker-py would leave to the garbage collector."""
    connection = _beneath(stream)
    stream.close()
    connection.close()


def _beneath(stream: Any) -> socket.socket:
    connection: socket.socket = getattr(stream, "_sock", stream)  # over a Unix socket it is wrapped
    return connection


def _early(stream: Any) -> bytes:
    """Return what came with the head of Docker's answer: the HTTP library read it ahead, and keeps it."""
    answer = getattr(getattr(stream, "_response", None), "raw", None)
    reader = getattr(getattr(answer, "_fp", None), "fp", None)
    if reader is None:
        return b""
    try:
        return bytes(reader.read(len(reader.peek())))  # of a connection that does not block: no more than is there
    except _AGAIN:
        return b""


def _received(connection: socket.socket, count: int) -> bytes:
    """Return ``count`` bytes; none at the end."""
    found = bytearray()
    while len(found) < count:
        part = connection.recv(count - len(found))
        if not part:
            return b""
        found += part
    return bytes(found)
