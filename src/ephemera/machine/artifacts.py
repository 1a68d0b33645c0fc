"""What is made once and kept: named by the hash of what it is made from, whole or not there at all."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ephemera.host.ownership import SHARED

_HASH_LENGTH = 16
_HERE, _EXCHANGE = -100, 2  # AT_FDCWD and RENAME_EXCHANGE, <linux/fs.h>


def content_hash(paths: Iterable[Path], *extra: str, suffixes: Collection[str] = ()) -> str:
    """Hash of files and folders, by name and content, and of further text.

    ``suffixes``: only files that end so count, and none that only tests; all when empty.
    """
    digest = hashlib.sha256()
    for text in extra:
        written = text.encode(errors="surrogateescape")  # names of files may be no UTF-8
        digest.update(b"text %d\0%s" % (len(written), written))
    for path in paths:
        for file in _files(path, tuple(suffixes)):
            content = file.read_bytes()
            name = os.fsencode(file.relative_to(path.parent))
            digest.update(b"file %s\0%d\0" % (name, len(content)))
            digest.update(content)
    return digest.hexdigest()[:_HASH_LENGTH]


@contextmanager
def replaced(target: Path) -> Iterator[Path]:
    """Like :func:`published`, for a folder that may be there and in use: one or the other is there at every moment."""
    fresh = target.with_name(f".{target.name}.new")
    remove(fresh)
    with published(fresh) as partial:
        yield partial
    try:
        if target.is_symlink():
            target.unlink()
        if target.exists():
            _exchange(fresh, target)
        else:
            fresh.rename(target)
    finally:
        remove(fresh)  # by now the old one, as a rule


@contextmanager
def published(target: Path) -> Iterator[Path]:
    """Yield a path to make ``target`` at, a file or a folder, which takes its name in one step at the end or is gone.

    Others cannot write to it, whatever the umask is. The caller holds the lock of ``target``: what an earlier, killed
    attempt left behind is removed first.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    for stale in target.parent.glob(f".{target.name}.partial-*"):
        remove(stale)
    partial = target.parent / f".{target.name}.partial-{os.getpid()}"
    try:
        yield partial
        _close(partial)
        partial.rename(target)
    finally:
        remove(partial)


def remove(path: Path) -> None:
    """Delete a file or a folder, or nothing when it is not there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _exchange(one: Path, other: Path) -> None:
    """Swap the names of two folders in one step, where the file system can; else there is none for a moment."""
    import ctypes  # takes time to import, and is rarely needed

    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "renameat2") and not libc.renameat2(_HERE, bytes(one), _HERE, bytes(other), _EXCHANGE):
        return
    aside = one.with_name(f"{one.name}.aside")
    remove(aside)
    other.rename(aside)
    one.rename(other)
    aside.rename(one)


def _close(path: Path) -> None:
    """Take write access from others: what lies in the cache is executed."""
    for place in (path, *path.rglob("*")):
        status = place.lstat()
        if status.st_mode & SHARED and not stat.S_ISLNK(status.st_mode):
            place.chmod(stat.S_IMODE(status.st_mode) & ~SHARED)


def _files(path: Path, suffixes: tuple[str, ...]) -> list[Path]:
    found = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    if not suffixes:
        return found
    return [file for file in found if file.name.endswith(suffixes) and not file.name.endswith("_test.go")]
