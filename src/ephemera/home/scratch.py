"""Temporary files of work on a stack, in the user's state: what a killed process leaves is found there."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ephemera.home import documents
from ephemera.home.documents import DiskError
from ephemera.home.paths import state_dir


@contextmanager
def scratch(stack: str) -> Iterator[Path]:
    """Yield an empty folder, and remove it afterwards; after a kill, :func:`remove` does."""
    parent = _of(stack)
    try:
        parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=parent))
    except OSError as error:
        raise DiskError(parent, error) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # another process uses it
            parent.rmdir()


def remove(stack: str) -> None:
    """Remove what killed processes left."""
    if (folder := _of(stack)).is_dir():
        shutil.rmtree(folder, ignore_errors=True)
    else:
        documents.remove(folder)


def _of(stack: str) -> Path:
    return state_dir() / "scratch" / stack
