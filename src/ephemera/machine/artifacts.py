"""What is made once and kept: named by the hash of what it is made from, whole or not there at all."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

_HASH_LENGTH = 16


def content_hash(paths: Iterable[Path], *extra: str, suffixes: Collection[str] = ()) -> str:
    """Hash of files and folders, by name and content, and of further text.

    ``suffixes``: only files that end so count, and none that only tests; all when empty.
    """
    digest = hashlib.sha256()
    for text in extra:
        digest.update(f"text {len(text.encode())}\0{text}".encode())
    for path in paths:
        for file in _files(path, tuple(suffixes)):
            content = file.read_bytes()
            digest.update(f"file {file.relative_to(path.parent)}\0{len(content)}\0".encode())
            digest.update(content)
    return digest.hexdigest()[:_HASH_LENGTH]


@contextmanager
def published(target: Path) -> Iterator[Path]:
    """A path to make ``target`` at, a file or a folder; it takes its name in one step at the end, or leaves nothing.

    The caller holds the lock of ``target``: what an earlier, killed attempt left behind is removed first.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    for stale in target.parent.glob(f".{target.name}.partial-*"):
        remove(stale)
    partial = target.parent / f".{target.name}.partial-{os.getpid()}"
    try:
        yield partial
        partial.rename(target)
    finally:
        remove(partial)


def remove(path: Path) -> None:
    """Delete a file or a folder, or nothing when it is not there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _files(path: Path, suffixes: tuple[str, ...]) -> list[Path]:
    found = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    if not suffixes:
        return found
    return [file for file in found if file.name.endswith(suffixes) and not file.name.endswith("_test.go")]
