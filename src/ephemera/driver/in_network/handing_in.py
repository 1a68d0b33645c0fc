"""The archive for a runner's container: ephemera's part, the suite with its configuration, outputs and order."""

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
_OURS = ("__init__.py", "contract", "inside")
_CONFIGURATION = ("pyproject.toml", "pytest.ini", "tox.ini", "setup.cfg")
_ABOVE_THE_SUITE = ("conftest.py", "__init__.py")


def archive(
    project: Path, suite: str, files: tuple[str, ...], outputs: EnvironmentOutputs, order: Mapping[str, Any]
) -> bytes:
    """Return a tar archive of all of it; raise :class:`InputError` for a file that is not there, or too many bytes."""
    package = Path(ephemera.__file__).parent
    found = {f"lib/ephemera/{path.relative_to(package)}": path for name in _OURS for path in _files_in(package, name)}
    for path in _wanted(project, suite, files):
        found[f"project/{path.relative_to(project)}"] = path
    size = sum(path.stat().st_size for path in found.values())
    if size > LARGEST_BYTES:
        raise InputError(
            f"the suite {suite} with its files is {size / 1e6:.0f} MB",
            remedy=f"{LARGEST_BYTES // 2**20} MB are handed into the network at most: make it in a fixture",
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
