"""The warm process: ``python -m ephemera.warm.server [DESCRIPTOR]``, which is closed as soon as it answers.

It has no threads, does nothing but fork, and reads nothing but requests of its own user's processes.
"""

from __future__ import annotations

import fcntl
import gc
import importlib
import json
import os
import select
import signal
import socket
import struct
import sys
import tempfile
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from ephemera.warm import address
from ephemera.warm.client import GO

_IDLE_SECONDS = 900.0
_LOOK_SECONDS = 30.0
_REQUEST_SECONDS = 5.0
_MODULES = (
    "pulumi",
    "pulumi.automation",
    "pulumi_docker",
    "docker",
    "rich.live",
    "rich.table",
    "typer",
    "yaml",
    "ephemera.cli.live",
    "ephemera.cli.main",
    "ephemera.cli.tables",
    "ephemera.driver.child",
    "ephemera.driver.guardian",
    "ephemera.driver.lifecycle",
    "ephemera.driver.reaper",
    "ephemera.images",
    "ephemera.resources",
)


def main(arguments: list[str]) -> int:
    """Serve until there has been nothing to do for a quarter of an hour, or what was imported has changed since."""
    told = int(arguments[0]) if arguments else None
    likeness = address.likeness()
    name = address.name_of(likeness)
    folder = address.folder()
    with (folder / f"{name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 0  # another one is at it
        _tidy(folder)
        for module in _MODULES:
            importlib.import_module(module)
        gc.collect()
        gc.freeze()  # so that a fork's collections do not copy what they share
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with address.short_path(folder, f"{name}.{os.getpid()}") as path:
            listener.bind(path)
            os.chmod(path, 0o600)  # noqa: PTH101 - it is in a folder that only the descriptor names
        listener.listen(128)
        (folder / f"{name}.{os.getpid()}").rename(folder / f"{name}.sock")
        try:
            if told is not None:
                os.close(told)
            signal.signal(signal.SIGCHLD, _reap)
            _serve(listener, likeness)
        finally:
            (folder / f"{name}.sock").unlink(missing_ok=True)
    return 0


def _reap(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signal module's form
    """Take note of forks that have ended: their processor time is this process's then, where others can read it."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _tidy(folder: Path) -> None:
    """Remove what warm processes left that were killed."""
    for path in folder.glob("*.lock"):
        with path.open("w") as lock, suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for left in folder.glob(f"{path.stem}.*"):
                left.unlink(missing_ok=True)


def _serve(listener: socket.socket, likeness: str) -> None:
    used = time.monotonic()
    while time.monotonic() - used < _IDLE_SECONDS:
        if not select.select([listener], [], [], _LOOK_SECONDS)[0]:
            if address.likeness() != likeness:
                return
            continue
        used = time.monotonic()
        connection, _ = listener.accept()
        with connection, suppress(OSError, ValueError, KeyError):
            connection.settimeout(_REQUEST_SECONDS)
            request, descriptors = _read(connection)
            try:
                if request["likeness"] == likeness and os.fork() == 0:
                    listener.close()
                    _become(connection, request, descriptors)
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)


def _read(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    if struct.unpack("3i", credentials)[1] != os.getuid():
        raise PermissionError
    size, descriptors, _, _ = socket.recv_fds(connection, 4, 3)
    try:
        if len(size) != 4 or len(descriptors) != 3:
            raise ValueError(size)
        message = bytearray()
        while len(message) < int.from_bytes(size, "big"):
            more = connection.recv(1 << 16)
            if not more:
                raise ValueError(len(message))
            message += more
        return json.loads(message), descriptors
    except BaseException:
        for descriptor in descriptors:
            os.close(descriptor)
        raise


def _become(connection: socket.socket, request: dict[str, Any], descriptors: list[int]) -> NoReturn:
    """Never returns to the server's code: this is another program from here on."""
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        connection.sendall(json.dumps({"pid": os.getpid()}).encode() + b"\n")
        if connection.recv(1) == GO:
            connection.settimeout(None)
            _dress(request, descriptors)
            if not request["outlives"]:
                threading.Thread(target=_die_with, args=(connection,), name="asked-for", daemon=True).start()
            code = _run(request["program"], request["arguments"])
            _flush()
            with suppress(OSError):  # whoever asked may be gone
                connection.sendall(json.dumps({"exit": code}).encode() + b"\n")
    except BaseException:  # noqa: BLE001 - it goes to the log
        traceback.print_exc()
    finally:
        # Not sys.exit: neither the server's own way out, nor waiting for threads that nobody needs any more.
        os._exit(code)


def _dress(request: dict[str, Any], descriptors: list[int]) -> None:
    """Take on everything by which a process differs from its parent."""
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
    for descriptor in descriptors:
        if descriptor > 2:
            os.close(descriptor)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.umask(request["umask"])
    os.chdir(request["folder"])
    time.tzset()
    tempfile.tempdir = None
    sys.path[:] = request["path"]
    sys.argv[:] = [request["name"], *request["arguments"]]
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - for as long as the process lives
    sys.stdout = open(1, "w", 1 if os.isatty(1) else -1, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", 1, closefd=False, errors="backslashreplace")  # noqa: SIM115


def _die_with(connection: socket.socket) -> None:
    """As if killed when whoever asked is gone: those who watch this process clean up after it."""
    with suppress(OSError):
        while connection.recv(1):
            pass
    os.kill(os.getpid(), signal.SIGKILL)


def _run(program: str, arguments: list[str]) -> int:
    module, _, function = program.partition(":")
    try:
        result: int | None = getattr(importlib.import_module(module), function)(arguments)
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except BaseException:  # noqa: BLE001 - as the interpreter itself
        traceback.print_exc()
        return 1
    return result or 0


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
