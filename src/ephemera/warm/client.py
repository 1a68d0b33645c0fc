"""Asking the warm process for forks of it: programs that are there at once.

A request is one packet, a JSON object, with three descriptors (standard input, output and error) beside it; it fails
where its variables do not fit into a packet (200 KB). The answers are ``{"pid"}``, and ``{"exit"}`` when the fork is
about to end by itself. In between the asking process answers with one byte: until then the fork does nothing, so that a
request that was given up has started nothing.
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
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from ephemera.host import surroundings
from ephemera.model.errors import InputError, MachineError
from ephemera.warm import socket_address

if TYPE_CHECKING:
    from types import FrameType

GO = b"g"
_ANSWER_SECONDS = 5.0
_START_SECONDS = 10.0
_ANSWER_BYTES = 4096

# The read end of a pipe that a server which this process started closes when it answers.
_starting: int | None = None


class Forked:
    """A running fork, in part like :class:`subprocess.Popen`. ``stdout``: a pipe, if one was asked for."""

    def __init__(self, connection: socket.socket, pid: int, stdout: IO[str] | None = None) -> None:
        self._connection = connection
        self.pid = pid
        self.stdout = stdout
        self.returncode: int | None = None

    def signal(self, number: int) -> None:
        """Send it a signal, if it still runs."""
        # While no answer came its process lives, so that its number is no other's. What came is not read here: this may
        # be the handler of a signal that came while it is read.
        if self.returncode is None and not self._answered(0):
            os.kill(self.pid, number)

    def wait(self, timeout: float | None = None) -> int:
        """Return its exit code, -9 for one that was killed by whatever signal; raise after ``timeout`` seconds."""
        if self.returncode is None:
            if not self._answered(timeout):
                raise subprocess.TimeoutExpired(f"fork {self.pid}", timeout or 0)
            try:
                answer = self._connection.recv(_ANSWER_BYTES)
            except ConnectionError:
                answer = b""
            self.returncode = int(json.loads(answer)["exit"]) if answer else -signal.SIGKILL
            self._connection.close()
        return self.returncode

    def _answered(self, seconds: float | None) -> bool:
        return bool(select.select([self._connection], [], [], seconds)[0])


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
    connection = _connected() if socket_address.wanted() else None
    if connection is None:
        return None
    try:
        request = {
            "program": program,
            "name": sys.argv[0],
            "arguments": list(arguments),
            "environment": dict(surroundings.variables() if environment is None else environment),
            "folder": folder or str(surroundings.folder()),
            "path": None if fresh else sys.path,
            "umask": socket_address.umask(),
            "outlives": outlives,
        }
        connection.settimeout(_ANSWER_SECONDS)
        socket.send_fds(connection, [json.dumps(request).encode()], list(descriptors))
        pid = int(json.loads(connection.recv(_ANSWER_BYTES))["pid"])
        connection.send(GO)
        connection.settimeout(None)
    except (OSError, ValueError, InputError):  # such as a working directory that is gone: without, the process tells
        connection.close()
        return None
    return Forked(connection, pid)


def piped(
    module: str,
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str],
    folder: str,
    request: IO[str],
    noise: IO[str],
) -> Forked | subprocess.Popen[str]:
    """Start ``python -m module``, as a fork where there is a warm process, with a pipe from its standard output.

    ``module`` has a function ``main`` as below. It reads ``request``; its standard error goes to ``noise``.
    """
    reading, writing = os.pipe()
    descriptors = (request.fileno(), writing, noise.fileno())
    process = forked(
        f"{module}:main", arguments, descriptors=descriptors, environment=environment, folder=folder, fresh=True
    )
    os.close(writing)
    if process is not None:
        process.stdout = os.fdopen(reading)
        return process
    os.close(reading)
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdin=request,
        stdout=subprocess.PIPE,
        stderr=noise,
        text=True,
        start_new_session=True,
        env=environment,
        cwd=folder,
    )


def detached(module: str, arguments: Sequence[str], log: Path) -> Forked | subprocess.Popen[bytes]:
    """Start ``python -m module``, as a fork where there is a warm process; it outlives this one.

    ``module`` has a function ``main`` that takes the arguments and returns the exit code. Its output is added to
    ``log``, or dropped where the disk does not take it.
    """
    try:
        log.parent.mkdir(exist_ok=True)
        output = log.open("a")
    except OSError:
        output = Path(os.devnull).open("a")  # noqa: SIM115 - closed below
    with Path(os.devnull).open() as nothing, output:
        descriptors = (nothing.fileno(), output.fileno(), output.fileno())
        process = forked(f"{module}:main", arguments, descriptors=descriptors, folder=os.sep, outlives=True)
        if process is not None:
            return process
        from ephemera.host.processes import start_detached  # late: the entry point has no use for psutil

        return start_detached(module, arguments, output)


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
    """Start the warm process of this fingerprint, unless there is one; it is there in about a second."""
    global _starting
    if not socket_address.wanted() or _starting is not None:
        return
    # An interpreter that finds no locale mends that for all that it starts too, so that those do not find the same.
    mode = ["-X", "utf8"] if sys.flags.utf8_mode else []
    with suppress(OSError, MachineError):  # a cache that cannot be used: then without
        connection = socket_address.connected(socket_address.fingerprint())
        if connection is not None:
            connection.close()
            return
        with (socket_address.folder() / "log").open("w") as log:
            _starting, told = os.pipe()
            with os.fdopen(told):
                subprocess.Popen(
                    [sys.executable, *mode, "-m", "ephemera.warm.server", str(told)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=socket_address.environment(),
                    pass_fds=[told],
                    start_new_session=True,
                    cwd=os.sep,
                ).returncode = 0  # never waited for: it outlives this process


def _connected() -> socket.socket | None:
    global _starting
    fingerprint = socket_address.fingerprint()
    connection = socket_address.connected(fingerprint)
    if connection is None and _starting is not None:
        # It imports what the program would have to import here: waiting is never longer.
        select.select([_starting], [], [], _START_SECONDS)
        os.close(_starting)
        _starting = None
        connection = socket_address.connected(fingerprint)
    return connection
