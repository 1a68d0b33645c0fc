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
import sys
import tempfile
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import IO, Any, NoReturn

from ephemera.host import surroundings
from ephemera.host.sockets import short_path
from ephemera.warm import address
from ephemera.warm.client import GO

_IDLE_SECONDS = 900.0
_LOOK_SECONDS = 30.0
_REQUEST_SECONDS = 5.0
_MODULES = (
    "grpc._channel",
    "grpc._interceptor",
    "grpc._server",
    "grpc._simple_stubs",
    "pulumi",
    "pulumi.automation",
    "pulumi_docker",
    "docker",
    "pydantic.type_adapter",
    "rich.live",
    "rich.table",
    "typer",
    "yaml",
    "ephemera.cli.entry",
    "ephemera.cli.live",
    "ephemera.cli.main",
    "ephemera.cli.tables",
    "ephemera.driver.child",
    "ephemera.driver.guardian",
    "ephemera.driver.in_network",
    "ephemera.driver.lifecycle",
    "ephemera.driver.reaper",
    "ephemera.images",
    "ephemera.machine.steps",
    "ephemera.resources.program",
    "ephemera.resources.rehearsal",
)


def main(arguments: list[str]) -> int:
    """Serve until there has been nothing to do for a quarter of an hour, or what was imported has changed since."""
    told = int(arguments[0]) if arguments else None
    likeness = address.likeness()
    name = address.name_of(likeness)
    folder = address.folder()
    with (folder / f"{name}.lock").open("w") as lock:
        if not _taken(lock):
            return 0  # another one is at it
        _tidy(folder)
        _plain_signals()
        import_all()
        gc.collect()
        gc.freeze()  # so that a fork's collections do not copy what they share
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with short_path(folder / f"{name}.{os.getpid()}") as path:
            listener.bind(path)
            os.chmod(path, 0o600)  # noqa: PTH101 - it is in a folder that only the descriptor names
        listener.listen(128)
        (folder / f"{name}.{os.getpid()}").rename(folder / f"{name}.sock")
        try:
            if told is not None:
                os.close(told)
            signal.signal(signal.SIGCHLD, _reap)
            _serve(listener, lock, likeness)
        finally:
            (folder / f"{name}.sock").unlink(missing_ok=True)
    return 0


def import_all() -> None:
    """Import what forks are to have. An interpreter that writes bytecode has compiled it by then."""
    for module in _MODULES:
        importlib.import_module(module)


def _reap(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signal module's form
    """Take note of forks that have ended: their processor time is this process's then, where others can read it."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _taken(lock: IO[str]) -> bool:
    """Whether it is ours now, and still the file of that name: whoever tidies removes those that nobody holds."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return Path(lock.name).stat().st_ino == os.fstat(lock.fileno()).st_ino
    except (BlockingIOError, FileNotFoundError):
        return False


def _tidy(folder: Path) -> None:
    """Remove what warm processes left that were killed."""
    for path in folder.glob("*.lock"):
        with path.open("w") as lock:
            if _taken(lock):
                for left in folder.glob(f"{path.stem}.*"):
                    left.unlink(missing_ok=True)


def _plain_signals() -> None:
    """As in a program that a shell starts: whoever started this one may ignore or block some, and forks would too."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}:  # which Python ignores by itself
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def _serve(listener: socket.socket, lock: IO[str], likeness: str) -> None:
    used = time.monotonic()
    while time.monotonic() - used < _IDLE_SECONDS:
        if not select.select([listener], [], [], _LOOK_SECONDS)[0]:
            if address.likeness() != likeness:
                return
            continue
        used = time.monotonic()
        with suppress(OSError):  # no process can be made: whoever asks goes without
            connection, _ = listener.accept()
            with connection:
                # The request is read in the fork: nobody waits for one who connects and says nothing.
                if os.fork() == 0:
                    _become(connection, likeness, listener, lock)


def _become(connection: socket.socket, likeness: str, *servers: socket.socket | IO[str]) -> NoReturn:
    """Never returns to the server's code: this is another program from here on. ``servers``: what is not for it."""
    code = 1
    try:
        for each in servers:
            each.close()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        asked = _asked(connection, likeness)
        if asked is not None:
            request, descriptors = asked
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


def _asked(connection: socket.socket, likeness: str) -> tuple[dict[str, Any], list[int]] | None:
    """The request and its descriptors; None for one that is none, that is not for us, or that was given up."""
    try:
        connection.settimeout(_REQUEST_SECONDS)
        request, descriptors = _read(connection)
        if request["likeness"] != likeness:
            return None
        connection.sendall(json.dumps({"pid": os.getpid()}).encode() + b"\n")
        if connection.recv(1) != GO:
            return None
        connection.settimeout(None)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return request, descriptors


def _read(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    address.check_peer(connection)
    size, descriptors, _, _ = socket.recv_fds(connection, 4, 3)
    if len(size) != 4 or len(descriptors) != 3:
        raise ValueError(size)
    message = bytearray()
    while len(message) < int.from_bytes(size, "big"):
        more = connection.recv(1 << 16)
        if not more:
            raise ValueError(len(message))
        message += more
    return json.loads(message), descriptors


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
    surroundings.take()
    time.tzset()
    tempfile.tempdir = None
    sys.path[:] = request["path"] or [request["folder"], *sys.path]
    sys.argv[:] = [request["name"], *request["arguments"]]
    # What else the interpreter found out about them at its start, such as their encoding, holds for these too.
    sys.stdout.reconfigure(line_buffering=os.isatty(1))  # type: ignore[union-attr]


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
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BaseException:  # noqa: BLE001 - as the interpreter itself
        traceback.print_exc()
        return 1
    return result or 0


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()


if __name__ == "__main__":
    if not sys.flags.safe_path:
        del sys.path[0]  # this process's own folder
    sys.exit(main(sys.argv[1:]))
