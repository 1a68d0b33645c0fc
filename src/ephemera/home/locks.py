"""Advisory locks between processes of one user. The kernel drops them when the holder dies, by whatever signal."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ephemera.host import clock

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class LockTimeoutError(TimeoutError):
    """The lock was held by another process for the whole time allowed."""


@contextmanager
def locked(path: Path, *, timeout_seconds: float | None = None) -> Iterator[None]:
    """Hold an exclusive lock on ``path``, made when absent. Whoever holds it may delete the file.

    Without ``timeout_seconds`` it waits for ever (the kernel wakes it); with it, :class:`LockTimeoutError` after that.
    On a full or read-only disk a file that is not there cannot be locked: then the block runs without. What it changes
    there is nothing, and what it removes may be removed twice.
    """
    while True:
        descriptor = _opened(path)
        if descriptor is None:
            yield
            return
        try:
            if timeout_seconds is None:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            else:
                _poll(descriptor, path, timeout_seconds)
            if _is_file(descriptor, path):  # else it was deleted while we waited: what we hold locks nobody out
                yield
                return
        finally:
            os.close(descriptor)


def _opened(path: Path) -> int | None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno not in (*_NO_ROOM, errno.EISDIR):
            raise
    with suppress(FileNotFoundError):
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # enough for a lock, also of a folder
    return None


def _is_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _poll(descriptor: int, path: Path, timeout_seconds: float) -> None:
    deadline = clock.monotonic() + timeout_seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if clock.monotonic() >= deadline:
                raise LockTimeoutError(f"{path} is held by another process for {timeout_seconds:g} s") from None
            time.sleep(0.02)
