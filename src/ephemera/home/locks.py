"""Advisory locks between processes of one user. The kernel drops them when the holder dies, by whatever signal."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ephemera.host.deadline import turns

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_INTERVAL_SECONDS = 0.02


class LockTimeoutError(TimeoutError):
    """Another process held the lock for the whole time allowed."""


@contextmanager
def locked(path: Path, *, shared: bool = False, timeout_seconds: float | None = None) -> Iterator[None]:
    """Hold a lock on ``path``, which is made when absent; the holder may delete the file.

    ``shared``: beside other shared holders; an exclusive one has the file alone. Without ``timeout_seconds``, wait for
    ever (the kernel wakes it); with it, raise :class:`LockTimeoutError` after that. On a full or read-only disk a file
    that is absent cannot be locked: then the block runs without, since it can change nothing there.
    """
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    while True:
        descriptor = _opened(path)
        if descriptor is None:
            yield
            return
        try:
            if timeout_seconds is None:
                fcntl.flock(descriptor, kind)
            else:
                _poll(descriptor, kind, path, timeout_seconds)
            if _is_file(descriptor, path):  # else it was deleted meanwhile, and another process may lock a new one
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


def _poll(descriptor: int, kind: int, path: Path, timeout_seconds: float) -> None:
    for _ in turns(timeout_seconds, _INTERVAL_SECONDS):
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            return
    raise LockTimeoutError(f"{path} is held by another process for {timeout_seconds:g} s")
