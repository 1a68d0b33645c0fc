"""What both kinds of parent do: listen, fork, notice the end of a worker, and end workers."""

import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import NoReturn

from chassis.process import GRACE_SECONDS

from olav.settings import ServerSettings

STOP = frozenset({signal.SIGTERM, signal.SIGINT})


class PortError(Exception):
    """The port cannot be had; the message says why."""


def listen(settings: ServerSettings) -> socket.socket:
    """The listening socket that all workers share. Raises PortError."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((settings.host, settings.port))
        listening.listen(2048)
    except OSError as error:
        listening.close()
        raise PortError(
            f"cannot listen on OLAV_HOST {settings.host}, OLAV_PORT {settings.port}: {error.strerror}"
        ) from None
    return listening


def fork(work: Callable[[], NoReturn]) -> int:
    """The pid of a new process that does `work`. Call with STOP and SIGCHLD blocked."""
    # What is still in the buffers would be written by both.
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        work()
    return pid


def reap(pids: set[int]) -> list[tuple[int, int]]:
    """Those of `pids` that have ended, with their exit statuses; negative ones are signals."""
    ended = []
    for pid in pids:
        done, code = os.waitpid(pid, os.WNOHANG)
        if done:
            ended.append((pid, os.waitstatus_to_exitcode(code)))
    return ended


def stop(pids: set[int]) -> None:
    """End them: with SIGTERM, and those that do not heed it with SIGKILL. SIGCHLD must be blocked."""
    for pid in pids:
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS + 2
    while pids:
        pids = pids - {pid for pid, _ in reap(pids)}
        left = deadline - time.monotonic()
        if pids and (left <= 0 or signal.sigtimedwait({signal.SIGCHLD}, left) is None):
            break
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
