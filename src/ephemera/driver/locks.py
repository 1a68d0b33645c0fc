"""Locks that Pulumi's engine holds on a stack, one file each in the state; those of dead engines are released.

An engine writes its process id, its host and the time into the file, and removes it when it ends. One that was killed
leaves it behind. Only a lock whose engine is known to be dead is ever removed: one of another host stays, and so does
one of a living engine, whoever started it.
"""

from __future__ import annotations

import json
import socket
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import psutil

from ephemera.driver.workspace import Workspace

_PROGRAM = "pulumi"
_MOST = 2**31
"""Process ids are below it."""
# An engine writes its lock in one go: a file that stays empty is that of one that was killed while it did.
_WRITING_SECONDS = 2.0
_INTERVAL_SECONDS = 0.05
# Times of files and of processes are told in steps of up to a hundredth of a second, the lock's own in whole seconds.
_SLACK_SECONDS = 1.5


def release_dead(workspace: Workspace, stack: str) -> list[Path]:
    """Remove the locks of engines that have died on this machine, and return those that are left."""
    for lock in (found := workspace.locks(stack)):
        if _is_dead(lock):
            with suppress(OSError):  # on a read-only disk it stays, and counts for nothing
                lock.unlink(missing_ok=True)
    return [lock for lock in found if not _is_dead(lock)]


def _is_dead(lock: Path) -> bool:
    try:
        document = json.loads(_content(lock))
        pid, host = int(document["pid"]), str(document["hostname"])
    except FileNotFoundError:
        return True  # released meanwhile
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return True  # it names no engine
    if not 0 < pid < _MOST:
        return True
    if host != socket.gethostname():
        return False
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return True
        if Path(process.exe()).name == _PROGRAM:
            return False
        # Another program has the number by now, unless it was there before the lock.
        return process.create_time() > _taken_at(lock, document) + _SLACK_SECONDS
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        return False  # another user's process, of which nothing more can be told


def _content(lock: Path) -> str:
    deadline = time.monotonic() + _WRITING_SECONDS
    while not (text := lock.read_text(errors="replace")).strip() and time.monotonic() < deadline:
        time.sleep(_INTERVAL_SECONDS)
    return text


def _taken_at(lock: Path, document: dict[str, object]) -> float:
    """Return when the lock was taken, in seconds since the epoch: as it says itself, or as its file does."""
    written = lock.stat().st_mtime
    try:
        return min(written, datetime.fromisoformat(str(document["timestamp"])).timestamp())
    except (KeyError, ValueError, OverflowError):
        return written
