"""Documents: JSON objects in files of the state directory, written whole and read with tolerance.

Each carries its ``schema``, a number that grows when the meaning of a field changes. Other versions of this product may
share the state: a reader keeps fields that it does not know, and reads those that it knows of a later schema. A file
that cannot be read is set aside: renamed, kept, and reported once. Only its own subject is affected.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from ephemera.host import clock
from ephemera.host.files import NotAFileError, text_of
from ephemera.model import progress
from ephemera.model.errors import MachineError

SCHEMA = "schema"
_ASIDE = "unreadable"
# Raised by readers of malformed documents.
_MALFORMED = (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError)

_T = TypeVar("_T")


class DiskError(MachineError):
    """A file of the state could not be written: the disk is full or read-only, or the folder is not this user's."""

    kind = "disk"

    def __init__(self, path: Path, error: OSError) -> None:
        said = error.strerror or str(error)
        remedy = "make room there" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "make it writable for this user"
        super().__init__(f"{path} cannot be written ({said})", remedy=f"{remedy}; `ephemera down` works without")


def write_whole(path: Path, content: str, *, mode: int = 0o600) -> None:
    """Write a text file atomically; ``mode``: before the umask. Raises :class:`DiskError`."""
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            with os.fdopen(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, mode), "w") as file:
                file.write(content)
            partial.replace(path)
        except BaseException:
            with suppress(OSError):
                partial.unlink()
            raise
    except OSError as error:
        raise DiskError(path, error) from error


def write(path: Path, document: Mapping[str, Any], *, schema: int) -> None:
    """Write a document. Raises :class:`DiskError`."""
    write_whole(path, json.dumps({**document, SCHEMA: schema}, indent=1))


def read(path: Path, parse: Callable[[dict[str, Any]], _T]) -> _T | None:
    """Return the parsed document, or None if it is missing; one that ``parse`` refuses is set aside."""
    try:
        text = text_of(path)
    except FileNotFoundError:
        return None
    except (NotAFileError, NotADirectoryError, PermissionError, UnicodeDecodeError) as error:
        set_aside(path, str(error))
        return None
    try:
        document = json.loads(text)
        if not isinstance(document, dict):
            raise TypeError(f"it holds a {type(document).__name__}")
        return parse(document)
    except _MALFORMED as error:
        set_aside(path, _why(text, error))
        return None


def set_aside(path: Path, why: str) -> None:
    """Rename a file that cannot be read, and report that."""
    aside = path.with_name(f"{path.name}.{_ASIDE}-{clock.stamp()}-{secrets.token_hex(2)}")
    try:
        path.rename(aside)
    except FileNotFoundError:
        pass  # another process was faster
    except OSError:
        progress.tell(f"{path} cannot be read ({why})")
    else:
        progress.tell(f"{path} cannot be read ({why}); kept as {aside.name}")


def is_aside(path: Path) -> bool:
    """Return whether the file was set aside."""
    return f".{_ASIDE}-" in path.name


def remove(path: Path) -> None:
    """Remove a file, and what killed writers of it left; a folder in its place is set aside."""
    if path.is_dir() and not path.is_symlink():
        set_aside(path, "it is a folder")
    elif os.path.lexists(path):  # a read-only disk refuses also what is not there
        path.unlink(missing_ok=True)
    remove_partials(path)


def remove_partials(path: Path) -> None:
    """Remove what killed writers of the file left."""
    for partial in path.parent.glob(f"{path.name}.*.partial"):
        with suppress(OSError):
            partial.unlink()


def _why(text: str, error: Exception) -> str:
    if not text.strip():
        return "it is empty"
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
