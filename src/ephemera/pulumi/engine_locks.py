"""Locks that Pulumi's engine holds on a stack, one file each in the state; those of dead engines are released.

An engine writes its process id, its host and the time into the file, and removes it when it ends. A killed one leaves
it behind. Only a lock whose engine is known to be dead is removed; one of another host, or of a living engine, stays.
"""

from __future__ import annotations

import json
import socket
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import psutil

from ephemera.host.deadline import turns
from ephemera.pulumi.workspace import Workspace

_PROGRAM = "pulumi"
_MOST = 2**31
"""Above every process id."""
# An engine writes its lock in one go: one whose file stays empty was killed meanwhile.
_WRITING_SECONDS = 2.0
_INTERVAL_SECONDS = 0.05
# Files and processes have times to a hundredth of a second, locks to a second.
_SLACK_SECONDS = 1.5


def release_dead(workspace: Workspace, stack: str) -> list[Path]:
    """Remove the locks of engines that have died on this machine, and return those that are left."""
    for lock in (found := workspace.locks(stack)):
        if _is_dead(lock):
            with suppress(OSError):  # on a read-only disk it stays, and does no harm
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
        return False  # another user's process


def _content(lock: Path) -> str:
    text = ""
    for _ in turns(_WRITING_SECONDS, _INTERVAL_SECONDS):
        if (text := lock.read_text(errors="replace")).strip():
            break
    return text


def _taken_at(lock: Path, document: dict[str, object]) -> float:
    """Return when the lock was taken, in seconds since the epoch: by its content, or else its file."""
    written = lock.stat().st_mtime
    try:
        return min(written, datetime.fromisoformat(str(document["timestamp"])).timestamp())
    except (KeyError, ValueError, OverflowError):
        return written
