"""Reading files that may be something else: a pipe or a device would be waited for, or read, for ever."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


class NotAFileError(OSError):
    """A folder, a pipe or a device stands where a file should."""


def text_of(path: Path) -> str:
    """Return the text in a file. Raises :class:`NotAFileError` for what is none, and other :class:`OSError` s."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise NotAFileError(errno.EINVAL, "it is no file", str(path))
        with os.fdopen(descriptor, closefd=False) as file:
            return file.read()
    finally:
        os.close(descriptor)
