"""Asking the warm process for forks of it: programs that are there at once.

A request is one JSON object with three descriptors (standard input, output and error) beside it; the answers are one
JSON object a line: ``{"pid"}``, and ``{"exit"}`` when the fork is about to end by itself. In between the asking process
answers with one byte: until then the fork does nothing, so that whoever gave up waiting has not started anything.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ephemera.contract.errors import InputError, MachineError
from ephemera.host import clock, surroundings
from ephemera.warm import address

if TYPE_CHECKING:
    from types import FrameType

GO = b"g"
_ANSWER_SECONDS = 5.0
_START_SECONDS = 10.0
_LINE_BYTES = 4096

# The read end of a pipe that a server which this process started closes when it answers.
_starting: int | None = None


class Forked:
    """A running fork, with what is needed of :class:`subprocess.Popen`. ``stdout``: where a pipe was asked for."""

    def __init__(self, connection: socket.socket, pid: int, stdout: IO[str] | None = None) -> None:
        self._connection = connection
        self._received = b""
        self.pid = pid
        self.stdout = stdout
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""
        if self.returncode is None and select.select([self._connection], [], [], 0)[0]:
            self._read()
        return self.returncode

    def signal(self, number: int) -> None:
        """Send it a signal, if it still runs."""
        # While nothing came its process lives, so that its number is no other's. What came is not read here: this may
        # be the handler of a signal that came while it is read.
        if self.returncode is None and not select.select([self._connection], [], [], 0)[0]:
            os.kill(self.pid, number)

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code; -9 for one that was killed, by whatever signal."""
        deadline = None if timeout is None else clock.monotonic() + timeout
        while self.returncode is None:
            left = None if deadline is None else max(0.0, deadline - clock.monotonic())
            if not select.select([self._connection], [], [], left)[0]:
                raise subprocess.TimeoutExpired(f"fork {self.pid}", timeout or 0)
            self._read()
        return self.returncode

    def _read(self) -> None:
        """What came: a line with its exit code, then the end; or the end alone."""
        try:
            received = self._connection.recv(_LINE_BYTES)
        except ConnectionError:
            received = b""
        if received:
            self._received += received
            return
        line = self._received.partition(b"\n")[0]
        self.returncode = int(json.loads(line)["exit"]) if line else -signal.SIGKILL
        self._connection.close()


def forked(
    program: str,
    arguments: Sequence[str],
    *,
    descriptors: tuple[int, int, int],
    environment: Mapping[str, str] | None = None,
    folder: str | None = None,
    fresh: bool = False,
    outlives: bool = False,
) -> Forked | None:
    """Have ``program`` (``module:function``, called with the arguments, returns the exit code) run in a fork; None
    where there is no warm process.

    ``fresh``: imports as ``python -m`` in that folder does, not as this process, where tests may have places of their
    own. ``outlives``: goes on when this process dies. Otherwise it is killed then, as a terminal's programs are not.
    """
    if not address.wanted():
        return None
    likeness = address.likeness()
    connection = _connected(likeness)
    if connection is None:
        return None
    try:
        request = {
            "likeness": likeness,
            "program": program,
            "name": sys.argv[0],
            "arguments": list(arguments),
            "environment": dict(surroundings.variables() if environment is None else environment),
            "folder": folder or str(surroundings.folder()),
            "path": None if fresh else sys.path,
            "umask": address.umask(),
            "outlives": outlives,
        }
        connection.settimeout(_ANSWER_SECONDS)
        message = json.dumps(request).encode()
        socket.send_fds(connection, [len(message).to_bytes(4, "big")], list(descriptors))
        connection.sendall(message)
        line = _line(connection)
        if line is None:
            connection.close()
            return None
        connection.sendall(GO)
        connection.settimeout(None)
    except (OSError, InputError):  # such as a working directory that is gone: without, the process itself tells
        connection.close()
        return None
    return Forked(connection, int(line["pid"]))


def started(
    program: str, arguments: Sequence[str], *, environment: Mapping[str, str], folder: str, noise: IO[Any]
) -> Forked | None:
    """A fork with a pipe from its standard output, whose standard error goes to ``noise``; None as above."""
    reading, writing = os.pipe()
    with Path(os.devnull).open() as nothing:
        process = forked(
            program,
            arguments,
            descriptors=(nothing.fileno(), writing, noise.fileno()),
            environment=environment,
            folder=folder,
            fresh=True,
        )
    os.close(writing)
    if process is None:
        os.close(reading)
        return None
    process.stdout = os.fdopen(reading)
    return process


def detached(module: str, arguments: Sequence[str], log: Path) -> Forked | subprocess.Popen[bytes]:
    """``python -m module``, as a fork where there is a warm process; outlives this one, its output is added to ``log``.

    ``module`` has a function ``main`` that takes the arguments and returns the exit code.
    """
    with Path(os.devnull).open() as nothing, _opened(log) as output:
        descriptors = (nothing.fileno(), output.fileno(), output.fileno())
        process = forked(f"{module}:main", arguments, descriptors=descriptors, folder=os.sep, outlives=True)
        if process is not None:
            return process
        from ephemera.host.processes import start_detached  # late: the entry point has no use for psutil

        return start_detached(module, arguments, output)


def _opened(log: Path) -> IO[str]:
    """Open a log to be added to; on a disk that does not take one, what would be written is dropped."""
    try:
        log.parent.mkdir(exist_ok=True)
        return log.open("a")
    except OSError:
        return Path(os.devnull).open("a")


def handed_over(program: str, arguments: Sequence[str]) -> int | None:
    """Run ``program`` in a fork in this process's place: its terminal, its signals, its exit code; None as above."""
    process: Forked | None = None
    seen: list[int] = []

    def pass_on(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signal module's form
        seen.append(number)
        if process is not None:
            process.signal(number)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        process = forked(program, arguments, descriptors=(0, 1, 2))
        if process is not None:
            for number in seen:  # before it was there
                process.signal(number)
            code = process.wait()
            # One that has just begun ends by them, as every program does.
            return 128 + seen[-1] if code < 0 and seen else code
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    for number in seen:
        signal.raise_signal(number)
    return None


def begin() -> None:
    """Start the warm process of this likeness, unless there is one; it is there in about a second."""
    global _starting
    if not address.wanted() or _starting is not None:
        return
    connection = address.connected(address.likeness())
    if connection is not None:
        connection.close()
        return
    # An interpreter that finds no locale mends that for all that it starts too, so that those do not find the same.
    mode = ["-X", "utf8"] if sys.flags.utf8_mode else []
    starting, told = os.pipe()
    try:
        with (address.folder() / "log").open("w") as log:
            subprocess.Popen(
                [sys.executable, *mode, "-m", "ephemera.warm.server", str(told)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=address.environment(),
                pass_fds=[told],
                start_new_session=True,
                cwd=os.sep,
            ).returncode = 0  # never waited for: it outlives this process
        _starting = starting
    except (OSError, MachineError):
        os.close(starting)  # a cache that cannot be used: then without
    finally:
        os.close(told)


def _connected(likeness: str) -> socket.socket | None:
    global _starting
    connection = address.connected(likeness)
    if connection is None and _starting is not None:
        # It imports what the program would have to import here: waiting is never longer.
        select.select([_starting], [], [], _START_SECONDS)
        os.close(_starting)
        _starting = None
        connection = address.connected(likeness)
    return connection


def _line(connection: socket.socket) -> dict[str, Any] | None:
    received = b""
    while not received.endswith(b"\n"):
        more = connection.recv(_LINE_BYTES)
        if not more:
            return None
        received += more
    answer: dict[str, Any] = json.loads(received)
    return answer
