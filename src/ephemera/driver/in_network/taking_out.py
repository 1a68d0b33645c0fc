"""What a suite leaves in its results folder, taken out of the container: it decides names and contents, so neither is
trusted."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath

from ephemera.contract.errors import EphemeraError

LARGEST_BYTES = 64 * 1024 * 1024
MOST_FILES = 1000
_LONGEST_NAME = 255


class ResultsError(EphemeraError):
    """What a suite left cannot be taken out; the folder for it is not there then."""

    kind = "results"


def unpack(chunks: Iterable[bytes], folder: Path, redacted: Callable[[str], str]) -> tuple[list[Path], list[str]]:
    """Write the archive's regular files below ``folder``, which must not be there yet: their paths, and the names of
    what is no regular file and was left out. The archive's first folder is left off.

    Texts are ``redacted``. Raises :class:`ResultsError` for a path that leads elsewhere, and for more than
    ``MOST_FILES`` files or ``LARGEST_BYTES`` bytes.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    partial.mkdir(parents=True)
    try:
        written, left_out = _unpack(chunks, partial, redacted)
        partial.rename(folder)
    except (tarfile.TarError, OSError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise ResultsError("the results cannot be taken out of the runner", remedy=str(error)) from error
    except ResultsError:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return [folder / path for path in written], left_out


def _unpack(chunks: Iterable[bytes], folder: Path, redacted: Callable[[str], str]) -> tuple[list[Path], list[str]]:
    written: list[Path] = []
    left_out: list[str] = []
    with tarfile.open(fileobj=_Bounded(chunks), mode="r|") as tar:
        for member in tar:
            if member.isdir():
                continue
            path = _inside(member.name)
            # A sparse file is as large as it says, and not as what was received.
            if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.sparse is not None:
                left_out.append(str(path))
                continue
            if len(written) == MOST_FILES:
                raise ResultsError(f"a suite left more than {MOST_FILES} files", remedy="pack them into one")
            content = tar.extractfile(member)
            assert content is not None  # noqa: S101 - a regular file has one
            _write(folder / path, _without_secrets(content.read(), redacted))
            written.append(path)
    return sorted(written), left_out


def _inside(name: str) -> Path:
    """The path below the results folder that an archive's name means."""
    parts = PurePosixPath(name).parts[1:]
    bad = not parts or PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts
    if bad or any(len(part.encode("utf-8", "surrogateescape")) > _LONGEST_NAME or "\0" in part for part in parts):
        raise ResultsError(f"a suite left {name!r}", remedy="results are files in the results folder")
    return Path(*parts)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Nothing is followed, and nothing written twice: no link is ever made here, and two files of one name are a trick.
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def _without_secrets(content: bytes, redacted: Callable[[str], str]) -> bytes:
    try:
        return redacted(content.decode()).encode()
    except UnicodeDecodeError:
        return content


class _Bounded(io.RawIOBase):
    """Reads chunks as they come, and no more of them than may be."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks: Iterator[bytes] = iter(chunks)
        self._rest = b""
        self._received = 0

    def read(self, size: int = -1) -> bytes:
        while len(self._rest) < size and (chunk := next(self._chunks, b"")):
            self._received += len(chunk)
            if self._received > LARGEST_BYTES:
                raise ResultsError(
                    f"a suite left more than {LARGEST_BYTES // 2**20} MB", remedy="keep what is needed to understand it"
                )
            self._rest += chunk
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken
