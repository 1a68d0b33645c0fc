"""The warm process: ``python -m ephemera.warm.server [DESCRIPTOR]``; it closes the descriptor once it can answer.

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
from typing import Any, NoReturn

from ephemera.host import surroundings
from ephemera.host.sockets import short_path
from ephemera.warm import socket_address
from ephemera.warm.client import GO

_IDLE_SECONDS = 900.0
_LOOK_SECONDS = 30.0
_REQUEST_SECONDS = 5.0
_REQUEST_BYTES = 1 << 20  # more than fits into a packet
_MODULES = (
    "pulumi_docker",
    "ephemera.cli.entry",
    "ephemera.cli.live",
    "ephemera.cli.main",
    "ephemera.cli.tables",
    "ephemera.pulumi.child",
    "ephemera.images",
    "ephemera.in_network",
    "ephemera.lifecycle.bring_up",
    "ephemera.lifecycle.finding",
    "ephemera.lifecycle.guardian",
    "ephemera.lifecycle.listing",
    "ephemera.lifecycle.pool",
    "ephemera.lifecycle.reaper",
    "ephemera.lifecycle.resetting",
    "ephemera.lifecycle.take_down",
    "ephemera.setup.steps",
    "ephemera.resources.program",
    "ephemera.resources.rehearsal",
)


def main(arguments: list[str]) -> int:
    """Serve until a quarter of an hour has passed without a request, or an imported module has changed."""
    fingerprint = socket_address.fingerprint()
    path = socket_address.socket_file(fingerprint)
    with (socket_address.folder() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of several that begin at once, one imports
        _tidy(socket_address.folder())
        if path.exists():
            return 0  # it serves already
        _plain_signals()
        import_all()
        gc.collect()
        gc.freeze()  # so that a fork's collections do not copy what they share
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with short_path(path) as short:
            listener.bind(short)
        path.chmod(0o600)  # before it listens; the folder is for the user alone
        listener.listen(128)
    for told in arguments:
        os.close(int(told))
    signal.signal(signal.SIGCHLD, _reap)
    try:
        _serve(listener, fingerprint)
    finally:
        path.unlink(missing_ok=True)
    return 0


def import_all() -> None:
    """Import what forks are to have. An interpreter that writes bytecode has compiled it by then."""
    for module in _MODULES:
        importlib.import_module(module)


def _reap(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signal module's form
    """Wait for forks that have ended: their processor time is this process's then, where others can read it."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _tidy(folder: Path) -> None:
    """Remove sockets of warm processes that were killed."""
    for path in folder.glob("*.socket"):
        connection = socket_address.connected(path.stem)
        if connection is None:
            path.unlink(missing_ok=True)
        else:
            connection.close()


def _plain_signals() -> None:
    """Handle signals as a program that a shell starts: the starter of this one may ignore or block some, and forks
    would too."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}:  # which Python ignores by itself
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def _serve(listener: socket.socket, fingerprint: str) -> None:
    used = time.monotonic()
    while time.monotonic() - used < _IDLE_SECONDS:
        if not select.select([listener], [], [], _LOOK_SECONDS)[0]:
            if socket_address.fingerprint() != fingerprint:
                return
            continue
        used = time.monotonic()
        with suppress(OSError):  # no process can be made: the asking one goes without
            connection, _ = listener.accept()
            with connection:
                # The request is read in the fork: one that connects and says nothing keeps no other waiting.
                if os.fork() == 0:
                    listener.close()
                    _become(connection)


def _become(connection: socket.socket) -> NoReturn:
    """Be the program that is asked for, and end; never return to the server's code."""
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        asked = _asked(connection)
        if asked is not None:
            request, descriptors = asked
            _dress(request, descriptors)
            if not request["outlives"]:
                threading.Thread(target=_die_with, args=(connection,), name="asked-for", daemon=True).start()
            code = _run(request["program"], request["arguments"])
            for stream in (sys.stdout, sys.stderr):
                with suppress(OSError, ValueError):
                    stream.flush()
            with suppress(OSError):  # the asking process may be gone
                connection.send(json.dumps({"exit": code}).encode())
    except BaseException:  # noqa: BLE001 - it goes to the log
        traceback.print_exc()
    finally:
        # Not sys.exit: neither the server's own way out, nor waiting for threads that are of no use any more.
        os._exit(code)


def _asked(connection: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Return the request and its descriptors; None for one that is damaged, or that was given up."""
    try:
        connection.settimeout(_REQUEST_SECONDS)
        socket_address.check_peer(connection)
        message, descriptors, _, _ = socket.recv_fds(connection, _REQUEST_BYTES, 3)
        request = json.loads(message)
        if len(descriptors) != 3:
            return None
        connection.send(json.dumps({"pid": os.getpid()}).encode())
        if connection.recv(1) != GO:
            return None
        connection.settimeout(None)
    except (OSError, ValueError):
        return None
    return request, descriptors


def _dress(request: dict[str, Any], descriptors: list[int]) -> None:
    """Take on everything by which the asking process differs from this one."""
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
    """End as if killed when the asking process is gone: those that watch this one clean up after it."""
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


if __name__ == "__main__":
    if not sys.flags.safe_path:
        del sys.path[0]  # this process's own folder
    sys.exit(main(sys.argv[1:]))
