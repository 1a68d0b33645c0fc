"""Who can change a file: what another user can replace runs, or is read, in this user's name.

Trusted are this user and root. What leads to a file counts like the file: renaming a folder changes what is in it.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Collection, Iterator
from contextlib import suppress
from functools import cache
from itertools import takewhile
from pathlib import Path

from ephemera.host import surroundings
from ephemera.model.errors import MachineError

SHARED = 0o022
"""Mode bits by which others change a file."""
OPEN = 0o077
"""Mode bits by which others change or read a file."""
_EVERY_USER = 2**32 - 1


def keep(folder: Path, *, closed: int, remedy: str) -> None:
    """Make ``folder`` with mode 0700 when it is absent, else take the mode bits ``closed`` from it and check it.

    What lies directly in it is checked too, and others' write access taken away. Raises :class:`MachineError` where
    another user owns one of them, or can change what leads to them; ``remedy``: how to choose another folder.
    """
    missing = list(takewhile(lambda place: not os.path.lexists(place), (folder, *folder.parents)))
    try:
        check((missing[-1] if missing else folder).parent, remedy, leads_on=True)
        if folder.is_symlink():
            check_owner(folder, remedy)
            with suppress(FileNotFoundError):  # made below; a circle of links raises another error
                folder.stat()
            keep(folder.parent / folder.readlink(), closed=closed, remedy=remedy)
            return
        for place in reversed(missing):
            place.mkdir(mode=0o700, exist_ok=True)
        mode = folder.stat().st_mode
        if narrow(folder, closed, remedy):
            print(
                f"ephemera: {folder} was open to other users; its mode is {mode & ~closed & 0o777:04o} now",
                file=sys.stderr,
            )
        for place in list(folder.iterdir()):
            with suppress(FileNotFoundError):  # removed meanwhile
                narrow(place, SHARED, remedy)
    except OSError as error:
        raise MachineError(f"{folder} cannot be made ({error.strerror})", remedy=surroundings.REMEDY) from error


def program(path: Path, within: Path, remedy: str) -> Path:
    """Return ``path``, an executable beneath the folder ``within`` that was given to :func:`keep`.

    Raises :class:`MachineError` if another user can change it, or could have: mending its mode undoes no change.
    """
    for place in reversed(path.parents):
        if within in place.parents:
            narrow(place, SHARED, remedy)
    status = path.lstat()
    if stat.S_ISREG(status.st_mode) and status.st_mode & stat.S_IWOTH:
        raise MachineError(
            f"{path} is executed, and any user may have changed it (mode {stat.S_IMODE(status.st_mode):04o})",
            remedy=remedy,
        )
    narrow(path, SHARED, remedy)
    return path


def narrow(place: Path, closed: int, remedy: str) -> bool:
    """Take the mode bits ``closed`` from a file or folder of this user's; return whether it had any.

    A link stays, and its target is checked. Raises :class:`MachineError` if another user owns it, or it keeps those
    bits.
    """
    status = check_owner(place, remedy)
    if stat.S_ISLNK(status.st_mode):
        check(place.parent / place.readlink(), remedy)
        return False
    if not status.st_mode & closed or (status.st_uid != os.geteuid() and not status.st_mode & SHARED):
        return False
    with suppress(OSError):  # root's, or on a file system without modes
        place.chmod(stat.S_IMODE(status.st_mode) & ~closed)
    if place.lstat().st_mode & closed:
        raise _open(place, status, remedy)
    return True


def check(path: Path, remedy: str, *, leads_on: bool = False) -> None:
    """Raise :class:`MachineError` if others than this user and root can change ``path`` or its parents.

    ``leads_on``: only what lies in it and is this user's matters, so that it may be as open as ``/tmp`` is.
    """
    path.stat()  # raises for a link that leads nowhere, or in a circle
    for place in (*reversed(path.parents), path):
        passed = leads_on or place != path
        status = check_owner(place, remedy, leads_on=passed)
        if stat.S_ISLNK(status.st_mode):
            check(place.parent / place.readlink(), remedy, leads_on=passed)
        elif passed and not stat.S_ISDIR(status.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(place))
        elif _is_writable(status) and not (passed and status.st_mode & stat.S_ISVTX):
            raise _open(place, status, remedy)


def check_owner(place: Path, remedy: str, *, owners: Collection[int] = (), leads_on: bool = False) -> os.stat_result:
    """Raise :class:`MachineError` unless ``place`` is this user's, root's or of ``owners``; return its status.

    ``leads_on``: in a user namespace it may be of a user outside, whose folders lead to this user's.
    """
    status = place.lstat()
    if status.st_uid in {0, os.geteuid(), *owners} or (leads_on and _is_outside(status.st_uid)):
        return status
    raise MachineError(
        f"{place} belongs to {_name(status.st_uid)}, and this runs as {_name(os.geteuid())}", remedy=remedy
    )


def _is_writable(status: os.stat_result) -> bool:
    by_group = status.st_mode & stat.S_IWGRP and not _is_private(status.st_gid)
    return bool(by_group or status.st_mode & stat.S_IWOTH)


def _open(place: Path, status: os.stat_result, remedy: str) -> MachineError:
    mode = f"{stat.S_IMODE(status.st_mode):04o}"
    return MachineError(f"{place} is open to other users (mode {mode})", remedy=f"`chmod go-w {place}`, or {remedy}")


@cache
def _is_private(group: int) -> bool:
    """Return whether a group has no member but this user and root: many systems give each user one."""
    import grp
    import pwd  # both take time to import, and are rarely needed

    try:
        members = set(grp.getgrgid(group).gr_mem)
    except KeyError:
        return False
    members.update(user.pw_name for user in pwd.getpwall() if user.pw_gid == group)
    return members <= {"root", _name(os.geteuid())}


def _is_outside(user: int) -> bool:
    """Return whether a user is outside this user namespace: as a rule root, whose folders lead to ours."""
    mapped = sum(int(line.split()[2]) for line in _lines("/proc/self/uid_map"))
    return 0 < mapped < _EVERY_USER and [str(user)] == list(_lines("/proc/sys/kernel/overflowuid"))


def _lines(path: str) -> Iterator[str]:
    with suppress(OSError):
        yield from Path(path).read_text().split("\n")[:-1]


def _name(user: int) -> str:
    import pwd  # takes time to import, and is rarely needed

    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"user {user}"
