"""Where on the disk files lie: ext4 can be told which folders have nothing to do with each other."""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path

# <linux/fs.h>; `chattr +T` and `lsattr -d` are programs for it.
_GET_FLAGS, _SET_FLAGS, _TOP_OF_HIERARCHIES = 0x80086601, 0x40086602, 0x00020000
_INTEGER = "i"


def spread(folder: Path) -> None:
    """Have the file system place new folders in ``folder`` apart from each other. What is there stays where it is.

    ext4 puts files near the folder that they are in, and folders side by side. Without a journal it gives out no number
    of a file that was deleted in the last minutes: it tries one after the other until one is free, which takes longer
    the more was deleted nearby. Apart from each other, folders begin where nothing was.

    Raises :class:`OSError` where the file system has no such thing, or this user may not.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        answer = fcntl.ioctl(descriptor, _GET_FLAGS, struct.pack(_INTEGER, 0))
        (flags,) = struct.unpack(_INTEGER, answer)
        fcntl.ioctl(descriptor, _SET_FLAGS, struct.pack(_INTEGER, flags | _TOP_OF_HIERARCHIES))
    finally:
        os.close(descriptor)
