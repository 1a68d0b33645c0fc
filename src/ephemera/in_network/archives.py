"""Archives into and out of a runner's container.

In go ephemera's part, the suite with its configuration, outputs and order. Out come the suite's results: it decides
names and contents, so neither is trusted.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import ephemera
from ephemera.model.errors import EphemeraError, InputError
from ephemera.model.outputs import EnvironmentOutputs

LARGEST_SUITE = 16 * 1024 * 1024
LARGEST_RESULTS = 64 * 1024 * 1024
MOST_RESULTS = 1000
_OURS = ("__init__.py", "model", "inside")
_CONFIGURATION = ("pyproject.toml", "pytest.ini", "tox.ini", "setup.cfg")
_ABOVE_THE_SUITE = ("conftest.py", "__init__.py")


class ResultsError(EphemeraError):
    """The results of a suite cannot be taken out; no folder is left of them."""

    kind = "results"


def pack(
    project: Path, suite: str, files: tuple[str, ...], outputs: EnvironmentOutputs, order: Mapping[str, Any]
) -> bytes:
    """Return a tar archive of all of it; raise :class:`InputError` for a file that is not there, or too many bytes."""
    package = Path(ephemera.__file__).parent
    found = {f"lib/ephemera/{path.relative_to(package)}": path for name in _OURS for path in _files_in(package, name)}
    for path in _wanted(project, suite, files):
        found[f"project/{path.relative_to(project)}"] = path
    size = sum(path.stat().st_size for path in found.values())
    if size > LARGEST_SUITE:
        raise InputError(
            f"the suite {suite} with its files is {size / 1e6:.0f} MB",
            remedy=f"{LARGEST_SUITE // 2**20} MB are handed into the network at most: make it in a fixture",
        )
    contents = {name: path.read_bytes() for name, path in sorted(found.items())}
    contents["outputs.json"] = json.dumps(outputs.inside().document(show_secrets=True)).encode()
    contents["order.json"] = json.dumps(order).encode()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o600
            tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def unpack(chunks: Iterable[bytes], folder: Path, redacted: Callable[[str], str]) -> tuple[list[Path], list[str]]:
    """Write the regular files of a tar archive, whose first folder is left off, below ``folder``, which must not exist.

    Returns their paths, and the names of other members, which are left out. Texts are ``redacted``. Raises
    :class:`ResultsError` for a path that leads elsewhere, two files of one name, and more than ``MOST_RESULTS`` files
    or ``LARGEST_RESULTS`` bytes.
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


def _wanted(project: Path, suite: str, files: tuple[str, ...]) -> Iterator[Path]:
    for name in (suite, *files):
        yield from _files_in(project, name)
    above = [project / folder / name for folder in PurePosixPath(suite).parents for name in _ABOVE_THE_SUITE]
    configuration = [project / name for name in _CONFIGURATION]
    yield from (path for path in (*above, *configuration) if path.is_file())


def _files_in(project: Path, name: str) -> Iterator[Path]:
    """Yield the file of that name, or all in that folder but caches and hidden folders."""
    start = project / name
    if start.is_file():
        yield start
        return
    if not start.is_dir():
        raise InputError(f"{name} is not there", remedy=f"make it, or change it in the catalog ({start})")
    for folder, folders, files in os.walk(start):
        folders[:] = [each for each in folders if each != "__pycache__" and not each.startswith(".")]
        yield from (path for path in (Path(folder, file) for file in files) if path.is_file())


def _received(chunks: Iterable[bytes]) -> io.BytesIO:
    received = io.BytesIO()
    for chunk in chunks:
        if received.tell() + len(chunk) > LARGEST_RESULTS:
            raise ResultsError(
                f"a suite left more than {LARGEST_RESULTS // 2**20} MB", remedy="leave only what is needed"
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
        if len(written) == MOST_RESULTS:
            raise ResultsError(f"a suite left more than {MOST_RESULTS} files", remedy="pack them into one")
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
