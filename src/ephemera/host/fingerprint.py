"""Fingerprints of files: two that are equal mean that no file was changed, added or removed in between.

A folder counts with everything below it that a program is likely to read. Left out are names that begin with a dot,
``tests``, Markdown, config of single stacks, installed packages and caches. Of a path that ends with a slash the names
in the folder count, all but those that tools make.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from stat import S_ISDIR, S_ISREG

from ephemera.host import clock
from ephemera.model.errors import InputError

_MOST_FILES = 20_000
_MOST_BYTES = 64 << 20
_LEFT_OUT = frozenset(("__pycache__", "node_modules", "site-packages", "tests"))
_OF_TOOLS = frozenset(("__pycache__", ".ephemera", ".git", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".coverage"))

Fingerprint = Mapping[str, str]
"""``stamps``: digest of names, times, sizes and inodes. ``content``: digest of names and contents; files beyond 64 MiB
in all count by their stamps."""
_Entry = tuple[str, os.stat_result | str]
"""A path with its status; or with ``folder``, names in it, or an error number."""


class Files:
    """Files and folders as they are now: each path is walked when it is first asked for, and never again.

    Paths may be missing. Methods raise :class:`InputError` for more than 20,000 files.
    ``since``: when this was made, nanoseconds since the epoch.
    """

    def __init__(self) -> None:
        self.since = clock.now_ns()
        self._walked: dict[str, list[_Entry]] = {}

    def fingerprint(self, paths: Iterable[str]) -> Fingerprint:
        """Return the fingerprint of ``paths``."""
        return {"stamps": self.stamps(paths), "content": _contents(self._found(paths))}

    def same(self, known: Fingerprint, paths: Iterable[str]) -> bool:
        """Return whether ``paths`` have that fingerprint. Contents are read only if a file was touched."""
        return self.stamps(paths) == known["stamps"] or _contents(self._found(paths)) == known["content"]

    def stamps(self, paths: Iterable[str]) -> str:
        """Return a digest of names, times, sizes and inodes."""
        return _digest((path, _stamp(status)) for path, status in self._found(paths))

    def changed_at(self, paths: Iterable[str]) -> int:
        """Return the last change of any file in ``paths``, nanoseconds since the epoch; 0 without files."""
        statuses = [status for _, status in self._found(paths) if not isinstance(status, str)]
        return max((max(status.st_mtime_ns, status.st_ctime_ns) for status in statuses), default=0)

    def _found(self, paths: Iterable[str]) -> list[_Entry]:
        found: list[_Entry] = []
        for path in sorted(set(paths)):
            if path not in self._walked:
                self._walked[path] = []
                for each in _walk(path, set()):
                    self._walked[path].append(each)
                    if len(found) + len(self._walked[path]) > _MOST_FILES:
                        raise InputError(f"{path} holds more than {_MOST_FILES:,} files")
            found += self._walked[path]
        return found


def apart(paths: Iterable[str]) -> list[str]:
    """Return absolute paths, sorted, without those that count in the fingerprint of another one."""
    found: list[str] = []
    for path in sorted(set(paths)):
        above = next((each for each in reversed(found) if path.startswith(f"{each}{os.sep}")), None)
        if above is None or any(map(_is_left_out, Path(path[len(above) + 1 :]).parts)):
            found.append(path)
    return found


def stamp(path: str | Path) -> str:
    """Return times of change, size and inode of a file, which differ once it was written; or why it has none."""
    try:
        return _stamp(os.stat(path))  # noqa: PTH116 - of either
    except OSError as error:
        return str(error.errno)


def _is_of_stack(name: str) -> bool:
    return name.startswith("Pulumi.") and name != "Pulumi.yaml"


def _is_left_out(name: str) -> bool:
    return _is_of_stack(name) or name.startswith(".") or name in _LEFT_OUT or name.endswith((".md", ".partial", "~"))


def _walk(path: str, seen: set[tuple[int, int]]) -> Iterator[_Entry]:
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
        if not _is_left_out(name):
            yield from _walk(f"{path}{os.sep}{name}", seen)


def _contents(found: Iterable[_Entry]) -> str:
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
