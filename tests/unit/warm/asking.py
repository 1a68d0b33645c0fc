"""Asking the warm process for forks, as the tests do."""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ephemera.warm import client, socket_address
from ephemera.warm.client import Forked

PROGRAMS = "tests.unit.warm.programs"
DEADLINE_SECONDS = 20.0


@dataclass(frozen=True)
class Done:
    """What a fork came to."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Begun:
    """A fork that runs, and waits for the end of its standard input."""

    process: Forked
    out: IO[str]
    into: IO[str]


def run(files: Path, program: str, *arguments: str, said: str = "", **how: Any) -> Done:
    """Have it run in a fork, with files for its standard streams, and wait for its end."""
    given, out, err = (files / name for name in ("stdin", "stdout", "stderr"))
    given.write_text(said)
    with given.open() as reading, out.open("w") as writing, err.open("w") as complaining:
        descriptors = (reading.fileno(), writing.fileno(), complaining.fileno())
        process = client.forked(f"{PROGRAMS}:{program}", arguments, descriptors=descriptors, **how)
    assert process is not None
    code = process.wait(DEADLINE_SECONDS)
    return Done(code, out.read_text(), err.read_text())


@contextmanager
def begun(program: str, *arguments: str, **how: Any) -> Iterator[Begun]:
    """A fork that said its first line; killed at the end, should it still live."""
    (given, into), (out, printing) = os.pipe(), os.pipe()
    with os.fdopen(into, "w") as writing, os.fdopen(out) as reading:
        process = client.forked(f"{PROGRAMS}:{program}", arguments, descriptors=(given, printing, printing), **how)
        os.close(given)
        os.close(printing)
        assert process is not None
        assert reading.readline() == "waiting\n"
        try:
            yield Begun(process, reading, writing)
        finally:
            process.signal(signal.SIGKILL)
            process.wait(DEADLINE_SECONDS)


def server_pid() -> int | None:
    """The process that serves here, if there is one."""
    connection = socket_address.connected(socket_address.fingerprint())
    if connection is None:
        return None
    with connection:
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[0])


def kill(pid: int) -> None:
    """End it, and wait until it has ended."""
    with suppress(ProcessLookupError):
        descriptor = os.pidfd_open(pid)
        os.kill(pid, signal.SIGKILL)
        until_gone(descriptor)


def until_gone(descriptor: int) -> None:
    """Wait until the process of that pidfd has ended, and close it."""
    ended, _, _ = select.select([descriptor], [], [], DEADLINE_SECONDS)
    os.close(descriptor)
    assert ended, "it still runs"
