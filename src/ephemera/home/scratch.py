"""Files that work on a stack needs for a while: in the user's state, so that a kill leaves none unknown."""

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
    """An empty folder, gone afterwards; after a kill, :func:`remove` finds it."""
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
        with suppress(OSError):  # others' are in it
            parent.rmdir()


def remove(stack: str) -> None:
    """Remove what killed processes left."""
    if (folder := _of(stack)).is_dir():
        shutil.rmtree(folder, ignore_errors=True)
    else:
        documents.remove(folder)


def _of(stack: str) -> Path:
    return state_dir() / "scratch" / stack
