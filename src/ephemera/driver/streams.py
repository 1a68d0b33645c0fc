"""What a command in a container reads and says, over the connection that the engine hands out for it."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from ephemera.host import clock

_HEADER = struct.Struct(">BxxxL")
_STDERR = 2


def exchange(stream: Any, data: bytes | None, timeout_seconds: float | None) -> tuple[bytes, bytes]:
    """Send ``data`` and its end, then collect what comes back until the command has ended: output and error apart.

    Raises :class:`TimeoutError` when that is not so after ``timeout_seconds``.
    """
    connection: socket.socket = getattr(stream, "_sock", stream)  # over a Unix socket it is wrapped
    deadline = None if timeout_seconds is None else clock.monotonic() + timeout_seconds
    said: dict[bool, bytearray] = {False: bytearray(), True: bytearray()}
    if data is not None:  # beside the reading: a command that answers as it reads waits for its answers to be read
        threading.Thread(target=_send, args=(connection, data), name="exec-stdin", daemon=True).start()
    while header := _receive(connection, _HEADER.size, deadline):
        kind, length = _HEADER.unpack(header)
        said[kind == _STDERR] += _receive(connection, length, deadline)
    return bytes(said[False]), bytes(said[True])


def frames(stream: Any) -> Iterator[tuple[int, bytes]]:
    """What comes back, as it comes, until the connection ends: 1 for standard output or 2 for error, and the bytes."""
    connection: socket.socket = getattr(stream, "_sock", stream)
    while header := _receive(connection, _HEADER.size, None):
        kind, length = _HEADER.unpack(header)
        yield kind, _receive(connection, length, None)


def close(stream: Any) -> None:
    """Close it, and the connection beneath it, which docker-py would leave to the garbage collector."""
    connection = getattr(stream, "_sock", stream)
    stream.close()
    connection.close()


def _send(connection: socket.socket, data: bytes) -> None:
    with suppress(OSError):  # it ended without reading all of it, or nobody waits for it any more
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)


def _receive(connection: socket.socket, count: int, deadline: float | None) -> bytes:
    """``count`` bytes, or fewer at the end."""
    found = bytearray()
    while len(found) < count:
        _set_rest(connection, deadline)
        part = connection.recv(count - len(found))
        if not part:
            break
        found += part
    return bytes(found) if len(found) == count else b""


def _set_rest(connection: socket.socket, deadline: float | None) -> None:
    if deadline is None:
        connection.settimeout(None)
    else:
        rest = deadline - clock.monotonic()
        if rest <= 0:
            raise TimeoutError
        connection.settimeout(rest)
