"""What ephemera is measured against, in pinned versions: installed when it is not there, kept in the user's cache."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from ephemera.home.paths import cache_dir
from ephemera.setup import go
from ephemera.setup.artifacts import content_hash, published
from ephemera.setup.work import CommandFailedError, Work

_ROOT = Path(__file__).resolve().parents[1]
_MODULE = _ROOT / "toolchain" / "compose"
_REQUIREMENTS = _ROOT / "benchmarks" / "requirements.txt"
COMPOSE_VERSION = "2.40.3"
_PACKAGE = "github.com/docker/compose/v2"
_ANSWER_SECONDS = 20
_VERSION = re.compile(r"v?(\d+)\.")


def compose(say: Callable[[str], None]) -> list[str]:
    """Command line of Docker Compose: the plugin or program that is installed, else one that is built here."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if _is_second(command):
            return command
    executable = built_compose()
    folder = executable.parent
    work = Work("compose", lambda line: say(f"Docker Compose: {line}"))
    with work.alone(f"compose-{folder.name}"):
        if not executable.exists():
            with published(folder) as partial:
                partial.mkdir()
                _build(work, partial / executable.name)
    return [str(executable)]


def built_compose() -> Path:
    """Where a Compose that was built here is."""
    key = content_hash([_MODULE], os.uname().machine, suffixes=(".go", ".mod", ".sum"))
    return cache_dir() / "compose" / key / "docker-compose"


def testcontainers(say: Callable[[str], None]) -> Path:
    """Interpreter of a virtual environment with testcontainers."""
    key = content_hash([_REQUIREMENTS], sys.version)
    folder = _ROOT / ".ephemera" / "bench-venv" / key
    work = Work("testcontainers", lambda line: say(f"testcontainers: {line}"))
    with work.alone(f"bench-venv-{key}"):
        if not folder.exists():
            with published(folder) as partial:
                _install(work, partial)
    return folder / "bin" / "python"


def _is_second(command: list[str]) -> bool:
    try:
        done = subprocess.run(
            [*command, "version", "--short"], capture_output=True, text=True, timeout=_ANSWER_SECONDS, check=False
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False
    found = _VERSION.match(done.stdout)
    return done.returncode == 0 and found is not None and int(found[1]) >= 2


def _build(work: Work, target: Path) -> None:
    flags = f"-s -w -X {_PACKAGE}/internal.Version=v{COMPOSE_VERSION}"
    # A user's own GOFLAGS would make another program.
    variables = {"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false", "GOWORK": "off", "GOTOOLCHAIN": "local"}
    arguments = ["build", "-v", "-trimpath", "-ldflags", flags, "-o", str(target), f"{_PACKAGE}/cmd"]
    try:
        work.run([str(go.ensured(work)), *arguments], cwd=_MODULE, env={**os.environ, **variables})
    except CommandFailedError as failure:
        raise failure.as_machine_error(
            "Docker Compose cannot be built", "install Docker Compose 2, or leave it out"
        ) from failure


def _install(work: Work, folder: Path) -> None:
    try:
        work.run([sys.executable, "-m", "venv", str(folder)])
        exactly = ["--require-hashes", "--no-deps", "--only-binary", ":all:", "--disable-pip-version-check", "--quiet"]
        work.run([str(folder / "bin" / "python"), "-m", "pip", "install", *exactly, "-r", str(_REQUIREMENTS)])
    except CommandFailedError as failure:
        raise failure.as_machine_error(
            "testcontainers cannot be installed", "check the package index of `pip config list`, or leave it out"
        ) from failure
