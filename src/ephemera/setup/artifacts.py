"""Artifacts that are made once and kept: named by the hash of their inputs, complete whenever they are there."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ephemera.host.ownership import SHARED

_PACKAGE = Path(__file__).resolve().parent.parent
_HASH_LENGTH = 16
_HERE, _EXCHANGE = -100, 2  # AT_FDCWD and RENAME_EXCHANGE, <linux/fs.h>


def data_dir(name: str) -> Path:
    """Return the folder ``toolchain`` or ``images``: package data when installed, at the top level of a checkout."""
    installed = _PACKAGE / "_data" / name
    return installed if installed.is_dir() else _PACKAGE.parent.parent / name


def content_hash(paths: Iterable[Path], *extra: str, suffixes: Collection[str] = ()) -> str:
    """Hash files and folders, by name and content, and further text.

    ``suffixes``: only files that end so count, and no Go tests; all files when empty.
    """
    digest = hashlib.sha256()
    for text in extra:
        written = text.encode(errors="surrogateescape")  # file names may be no UTF-8
        digest.update(b"text %d\0%s" % (len(written), written))
    for path in paths:
        for file in _files(path, tuple(suffixes)):
            content = file.read_bytes()
            name = os.fsencode(file.relative_to(path.parent))
            digest.update(b"file %s\0%d\0" % (name, len(content)))
            digest.update(content)
    return digest.hexdigest()[:_HASH_LENGTH]


@contextmanager
def published(target: Path) -> Iterator[Path]:
    """Yield a path to make ``target`` at, a file or a folder, which takes its name in one step when the block ends.

    A block that fails leaves what was there. Other users cannot write to the result, whatever the umask is. The caller
    holds the lock of ``target``: what an earlier, killed attempt left behind is removed first.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    for stale in target.parent.glob(f".{target.name}.partial-*"):
        remove(stale)
    partial = target.parent / f".{target.name}.partial-{os.getpid()}"
    try:
        yield partial
        _close(partial)
        if target.is_dir() and not target.is_symlink():
            _exchange(partial, target)  # a folder cannot be renamed onto one that is not empty
        else:
            if partial.is_dir():
                target.unlink(missing_ok=True)
            partial.rename(target)
    finally:
        remove(partial)  # by now the old one, where there was one


def _exchange(one: Path, other: Path) -> None:
    """Give two folders each other's names, in one step where the system can."""
    import ctypes  # takes time to import, and is rarely needed

    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "renameat2") and not libc.renameat2(_HERE, bytes(one), _HERE, bytes(other), _EXCHANGE):
        return
    aside = one.with_name(f"{one.name}.aside")
    remove(aside)
    other.rename(aside)
    try:
        one.rename(other)
    except OSError:
        aside.rename(other)
        raise
    aside.rename(one)


def remove(path: Path) -> None:
    """Delete a file or a folder; do nothing if it is not there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _close(path: Path) -> None:
    """Take write access from other users: programs are run from the cache."""
    for place in (path, *path.rglob("*")):
        status = place.lstat()
        if status.st_mode & SHARED and not stat.S_ISLNK(status.st_mode):
            place.chmod(stat.S_IMODE(status.st_mode) & ~SHARED)


def _files(path: Path, suffixes: tuple[str, ...]) -> list[Path]:
    found = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    if not suffixes:
        return found
    return [file for file in found if file.name.endswith(suffixes) and not file.name.endswith("_test.go")]
