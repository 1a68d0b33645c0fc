"""What a runner's container is handed: ephemera's own part, the suite with what it is read with, outputs and order."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import ephemera
from ephemera.contract.errors import InputError
from ephemera.contract.outputs import EnvironmentOutputs

LARGEST_BYTES = 16 * 1024 * 1024
_ROOMS = ("contract", "inside")
_CONFIGURATION = ("pyproject.toml", "pytest.ini", "tox.ini", "setup.cfg")
_ABOVE_THE_SUITE = ("conftest.py", "__init__.py")
_LEFT_OUT = ("__pycache__",)


def archive(
    project: Path, suite: str, files: tuple[str, ...], outputs: EnvironmentOutputs, order: Mapping[str, Any]
) -> bytes:
    """A tar archive of all of it. Raises :class:`InputError` for what is not there, or too large."""
    found = dict(_own())
    for path in _wanted(project, suite, files):
        found[f"project/{path.relative_to(project).as_posix()}"] = path
    size = sum(path.stat().st_size for path in found.values())
    if size > LARGEST_BYTES:
        raise InputError(
            f"the suite {suite} with its files is {size / 1e6:.0f} MB",
            remedy=f"{LARGEST_BYTES // 2**20} MB are handed into the network at most: make it in a fixture",
        )
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, path in sorted(found.items()):
            _add(tar, name, path.read_bytes())
        _add(tar, "outputs.json", json.dumps(outputs.inside().document(show_secrets=True)).encode())
        _add(tar, "order.json", json.dumps(order).encode())
    return packed.getvalue()


def _own() -> Iterator[tuple[str, Path]]:
    package = Path(ephemera.__file__).parent
    yield "lib/ephemera/__init__.py", package / "__init__.py"
    for room in _ROOMS:
        for path in (package / room).rglob("*.py"):
            yield f"lib/ephemera/{path.relative_to(package).as_posix()}", path


def _wanted(project: Path, suite: str, files: tuple[str, ...]) -> Iterator[Path]:
    yield from _files_in(project, suite)
    for name in files:
        yield from _files_in(project, name)
    above = PurePosixPath(suite).parents
    candidates = [project / folder / name for folder in above for name in _ABOVE_THE_SUITE]
    yield from (path for path in candidates if path.is_file())
    yield from (project / name for name in _CONFIGURATION if (project / name).is_file())


def _files_in(project: Path, name: str) -> Iterator[Path]:
    """Files of that name, or in that folder; what hidden folders hold is nothing of a suite."""
    start = project / name
    if start.is_file():
        yield start
        return
    if not start.is_dir():
        raise InputError(f"{name} is not there", remedy=f"make it, or change it in the catalog ({start})")
    for folder, folders, files in os.walk(start):
        folders[:] = [each for each in folders if each not in _LEFT_OUT and not each.startswith(".")]
        yield from (path for path in (Path(folder, file) for file in files) if path.is_file())


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), 0o600
    tar.addfile(member, io.BytesIO(content))
