"""Takes a suite's results out of its container. The suite decides names and contents, so neither is trusted."""

from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath

from ephemera.contract.errors import EphemeraError

LARGEST_BYTES = 64 * 1024 * 1024
MOST_FILES = 1000


class ResultsError(EphemeraError):
    """The results of a suite cannot be taken out; no folder is left of them."""

    kind = "results"


def unpack(chunks: Iterable[bytes], folder: Path, redacted: Callable[[str], str]) -> tuple[list[Path], list[str]]:
    """Write the regular files of a tar archive, whose first folder is left off, below ``folder``, which must not exist.

    Returns their paths, and the names of other members, which are left out. Texts are ``redacted``. Raises
    :class:`ResultsError` for a path that leads elsewhere, two files of one name, and more than ``MOST_FILES`` files or
    ``LARGEST_BYTES`` bytes.
    """
    folder.mkdir(parents=True)
    try:
        with tarfile.open(fileobj=_received(chunks)) as tar:
            return _unpack(tar, folder, redacted)
    except (tarfile.TarError, OSError, ValueError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise ResultsError("the results cannot be taken out of the runner", remedy=str(error)) from error
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _received(chunks: Iterable[bytes]) -> io.BytesIO:
    received = io.BytesIO()
    for chunk in chunks:
        if received.tell() + len(chunk) > LARGEST_BYTES:
            raise ResultsError(
                f"a suite left more than {LARGEST_BYTES // 2**20} MB", remedy="leave only what is needed"
            )
        received.write(chunk)
    received.seek(0)
    return received


def _unpack(tar: tarfile.TarFile, folder: Path, redacted: Callable[[str], str]) -> tuple[list[Path], list[str]]:
    written: list[Path] = []
    left_out: list[str] = []
    for member in tar:
        if member.isdir():
            continue
        name = PurePosixPath(member.name)
        if name.is_absolute() or ".." in name.parts or len(name.parts) < 2:
            raise ResultsError(f"a suite left {member.name!r}", remedy="results are files in the results folder")
        path = folder.joinpath(*name.parts[1:])
        content = tar.extractfile(member) if member.isreg() and not member.issparse() else None
        if content is None:  # a sparse file is as large as it says, and not as what was received
            left_out.append(str(path.relative_to(folder)))
            continue
        if len(written) == MOST_FILES:
            raise ResultsError(f"a suite left more than {MOST_FILES} files", remedy="pack them into one")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:  # follows no link, and refuses a second file of one name
            file.write(_without_secrets(content.read(), redacted))
        written.append(path)
    return sorted(written), left_out


def _without_secrets(content: bytes, redacted: Callable[[str], str]) -> bytes:
    try:
        return redacted(content.decode()).encode()
    except UnicodeDecodeError:
        return content
