"""Fingerprints of files: two that are equal mean that no file was changed, added or removed in between.

A folder counts with everything below it that a program is likely to read. Left out are names that begin with a dot,
``tests``, Markdown, config of single stacks, installed packages and caches. Of a path that ends with a slash the names
in the folder count, all but those that tools make.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISDIR, S_ISREG

_MOST_FILES = 20_000
_MOST_BYTES = 64 << 20
_LEFT_OUT = frozenset(("__pycache__", "node_modules", "site-packages", "tests"))
_OF_TOOLS = frozenset(("__pycache__", ".ephemera", ".git", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".coverage"))

_Found = list[tuple[str, os.stat_result | str]]
"""Paths with their status, or with what else there is to say."""


class TooManyFilesError(Exception):
    """More files than can be looked at before every command."""


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """``stamps``: digest of names, times, sizes and inodes. ``content``: digest of names and contents; files beyond
    64 MiB in all count by their stamps. ``changed_at``: last change of any of them, nanoseconds since the epoch."""

    stamps: str
    content: str
    changed_at: int


def fingerprint(paths: Iterable[str]) -> Fingerprint:
    """Return the fingerprint of files and folders, there or not; raise :class:`TooManyFilesError` beyond 20,000."""
    found = _found(paths)
    times = [max(status.st_mtime_ns, status.st_ctime_ns) for _, status in found if not isinstance(status, str)]
    return Fingerprint(stamps=_stamps(found), content=_contents(found), changed_at=max(times, default=0))


def same(known: Fingerprint, paths: Iterable[str]) -> bool:
    """Return whether they have that fingerprint now. Contents are read only if a file was touched."""
    found = _found(paths)
    return _stamps(found) == known.stamps or _contents(found) == known.content


def covered(path: str, folders: Iterable[str]) -> bool:
    """Return whether an absolute path counts in the fingerprint of one of the folders."""
    for folder in folders:
        if path == folder or path.startswith(f"{folder}{os.sep}"):
            return not any(map(_left_out, Path(path[len(folder) + 1 :]).parts))
    return False


def _is_of_stack(name: str) -> bool:
    return name.startswith("Pulumi.") and name != "Pulumi.yaml"


def _left_out(name: str) -> bool:
    return _is_of_stack(name) or name.startswith(".") or name in _LEFT_OUT or name.endswith((".md", ".partial", "~"))


def _found(paths: Iterable[str]) -> _Found:
    found: _Found = []
    seen: set[tuple[int, int]] = set()
    for path in sorted(set(paths)):
        for each in _walked(path, seen):
            found.append(each)
            if len(found) > _MOST_FILES:
                raise TooManyFilesError(f"{path} holds more than {_MOST_FILES:,} files")
    return found


def _walked(path: str, seen: set[tuple[int, int]]) -> Iterator[tuple[str, os.stat_result | str]]:
    try:
        if path.endswith(os.sep):
            names = sorted(set(os.listdir(path)) - _OF_TOOLS)  # noqa: PTH208 - of thousands, as below
            yield path, "/".join(name for name in names if not _is_of_stack(name))
            return
        status = os.stat(path)  # noqa: PTH116
        if not S_ISDIR(status.st_mode):
            yield path, status
            return
        place = (status.st_dev, status.st_ino)
        names = [] if place in seen else sorted(os.listdir(path))  # noqa: PTH208 - links may go in circles
    except OSError as error:
        yield path, str(error.errno)
        return
    seen.add(place)
    yield path, "folder"
    for name in names:
        if not _left_out(name):
            yield from _walked(f"{path}{os.sep}{name}", seen)


def _stamps(found: _Found) -> str:
    return _digest((path, _stamp(status)) for path, status in found)


def _contents(found: _Found) -> str:
    def contents() -> Iterator[tuple[str, str]]:
        left = _MOST_BYTES
        for path, status in found:
            if not isinstance(status, str) and S_ISREG(status.st_mode) and status.st_size <= left:
                left -= status.st_size
                yield path, _content(path)
            else:
                yield path, _stamp(status)

    return _digest(contents())


def _stamp(status: os.stat_result | str) -> str:
    if isinstance(status, str):
        return status
    return f"{status.st_mtime_ns} {status.st_ctime_ns} {status.st_size} {status.st_ino}"


def _content(path: str) -> str:
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()
    except OSError as error:
        return str(error.errno)


def _digest(entries: Iterable[tuple[str, str]]) -> str:
    text = "".join(f"{path}\0{said}\0" for path, said in entries)
    return hashlib.sha256(os.fsencode(text)).hexdigest()
