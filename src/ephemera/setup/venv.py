"""The checkout's virtual environment. Its wheels are downloaded once per user: a second clone needs no network.

It keeps the interpreter that it was made with, whatever Python starts the launcher, and is made anew when its contents
change, when it was moved, or when that interpreter is gone: beside the old one, whose place it takes in one step.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tomllib
from functools import cached_property
from pathlib import Path
from typing import Any

from ephemera.home.paths import cache_dir, cached_program, checkout_dir
from ephemera.host.ownership import check_owner
from ephemera.model.errors import MachineError
from ephemera.setup import apt
from ephemera.setup.artifacts import content_hash, published
from ephemera.setup.work import CommandFailedError, Work

_AGAINST_A_TARGET = ("PIP_USER", "PIP_PREFIX", "PIP_ROOT", "PIP_REQUIRE_HASHES")
_NOT_INSTALLED = ("ruff", "mypy", "pytest", "coverage", "ephemera")
"""Tables of pyproject.toml that are read where they lie: a change of theirs needs no new install."""
_ANSWER_SECONDS = 10


class VirtualEnvironment:
    """``.ephemera/venv`` with everything of ``requirements-dev.txt``, and the project's own packages, editable."""

    name = "virtual environment"

    def __init__(self, project: Path) -> None:
        self._project = project
        self._requirements = project / "requirements-dev.txt"
        self._folder = project / ".ephemera" / "venv"
        self._stamp = project / ".ephemera" / "venv.stamp"
        self.python = self._folder / "bin" / "python"
        self.command = self._folder / "bin" / "ephemera"

    def interpreter(self) -> Path | None:
        """Return the interpreter of an environment that runs, for the one that takes its place; None without one."""
        return self.python.resolve() if self._runs() else None

    def check(self) -> bool:
        try:
            is_current = self._stamp.read_text() == self._key
        except (OSError, UnicodeDecodeError):
            return False
        return is_current and self.command.exists() and self._runs()

    def run(self, work: Work) -> None:
        checkout_dir(self._project)
        with work.alone(f"venv-{content_hash((), str(self._folder))}"):
            if not self.check():
                self._make(work, self._wheels(work))

    @cached_property
    def _document(self) -> dict[str, Any]:
        return tomllib.loads((self._project / "pyproject.toml").read_text())

    @property
    def _packages(self) -> list[str]:
        """Return folders of further packages of the repository that its suites use: ``[tool.ephemera] packages``."""
        folders = self._document.get("tool", {}).get("ephemera", {}).get("packages", ())
        return [str(self._project / folder) for folder in folders]

    @cached_property
    def _key(self) -> str:
        # The folder is part of it: a moved checkout has scripts that name the old place. The interpreter is not, or
        # each that comes first on PATH would make its own.
        tools = {name: table for name, table in self._document.get("tool", {}).items() if name not in _NOT_INSTALLED}
        package = json.dumps([{**self._document, "tool": tools}, self._packages], sort_keys=True)
        return content_hash((self._requirements,), package, str(self._folder))

    def _wheels(self, work: Work) -> Path:
        """Return the folder of the wheels of the requirements; download them when it is missing."""
        platform = f"{sys.version_info.major}.{sys.version_info.minor} {os.uname().machine}"
        key = content_hash((self._requirements,), platform)
        folder = cache_dir() / "wheels" / key
        with work.alone(f"wheels-{key}"):
            if not folder.is_dir():
                with published(folder) as partial:
                    packages = f"the packages of {self._requirements.name}"
                    pip(work, packages, "download", "--dest", str(partial), *locked(self._requirements))
                    # uv's program, in bin/: it installs in a second what pip needs ten for.
                    local = ("--no-index", "--find-links", str(partial), "--no-deps", "--target", str(partial))
                    pip(work, packages, "install", *local, "uv")
        return folder

    def _make(self, work: Work, wheels: Path) -> None:
        import venv  # slow to import, and rarely needed

        work.say("creating")
        with published(self._folder) as fresh:
            # Of the interpreter's own, also where the one that runs this is a virtual environment's.
            venv.create(fresh, symlinks=True, with_pip=False, prompt=self._folder.name)
            self._install(work, wheels, fresh / "bin" / "python")
            _name_final_place(fresh, self._folder)
            self._stamp.unlink(missing_ok=True)
        with published(self._stamp) as partial:
            partial.write_text(self._key)

    def _install(self, work: Work, wheels: Path, python: Path) -> None:
        settings = ["--no-config", "--offline", "--no-progress", "--cache-dir", str(cache_dir() / "uv")]
        install = [str(cached_program(wheels / "bin" / "uv")), *settings, "pip", "install"]
        install += ["--python", str(python), "--no-index"]
        known = ["--find-links", str(wheels), "--require-hashes", "--requirement", str(self._requirements)]
        folders = (str(self._project), *self._packages)
        editable = [argument for folder in folders for argument in ("--editable", folder)]
        # The variables of the user's own uv and pip must not add packages, indexes or another interpreter.
        env = {name: value for name, value in os.environ.items() if not name.startswith(("UV_", "VIRTUAL_ENV"))}
        try:
            work.run([*install, *known], env=env)
            work.run([*install, "--no-deps", "--no-build-isolation", *editable], env=env)
            # Compiles what commands import. Without it, where PYTHONDONTWRITEBYTECODE is set, each of them would.
            work.run([str(python), "-I", "-c", "from ephemera.warm import server; server.import_all()"])
        except CommandFailedError as failure:
            raise failure.as_machine_error(
                "the virtual environment cannot be made", f"delete {wheels} and try again"
            ) from failure

    def _runs(self) -> bool:
        """Return whether its interpreter runs what is installed: it is gone, or of another version, after an upgrade.

        Raises :class:`MachineError` if another user made it; the checkout's owner, whose code it runs, is trusted.
        """
        of_checkout = self._project.stat().st_uid
        try:
            for place in (self._folder.parent, self._folder, self._folder / "bin", self.python, self.command):
                check_owner(place, f"remove {self._folder.parent}", owners=(of_checkout,))
            asked = [str(self.python), "-I", "-c", "import ephemera"]
            return subprocess.run(asked, capture_output=True, timeout=_ANSWER_SECONDS).returncode == 0
        except (OSError, subprocess.TimeoutExpired):
            return False


def _name_final_place(fresh: Path, place: Path) -> None:
    """Have the scripts of an environment that was made at ``fresh`` name the place that it is moved to."""
    for script in (fresh / "pyvenv.cfg", *(fresh / "bin").iterdir()):
        if not script.is_symlink() and bytes(fresh) in (content := script.read_bytes()) and b"\0" not in content:
            mode = script.stat().st_mode
            script.unlink()  # it may be a second name of a file of the cache
            script.write_bytes(content.replace(bytes(fresh), bytes(place)))
            script.chmod(mode)


def locked(requirements: Path) -> tuple[str, ...]:
    """Return pip's arguments for a complete lock: there is nothing to resolve, and nothing to build."""
    return "--no-deps", "--require-hashes", "--only-binary", ":all:", "--requirement", str(requirements)


def pip(work: Work, what: str, *arguments: str) -> None:
    """Run pip with the user's own settings, and install it on Debian first where it is missing.

    Raises :class:`MachineError`, which says that ``what`` cannot be downloaded.
    """
    try:
        command, env = pip_command()
    except MachineError:
        if not apt.available():
            raise
        apt.install(work, ("python3-venv",))
        importlib.invalidate_caches()
        command, env = pip_command()
    if "--target" in arguments:  # which pip refuses beside these settings of the user's
        env = {name: value for name, value in env.items() if name not in _AGAINST_A_TARGET}
        arguments = (*arguments, "--no-user")
    try:
        work.run([*command, *arguments, "--disable-pip-version-check", "--progress-bar", "off"], env=env)
    except CommandFailedError as failure:
        raise failure.as_machine_error(
            f"{what} cannot be downloaded", "check the package index of `pip config list`"
        ) from failure


def pip_command() -> tuple[list[str], dict[str, str]]:
    """Return command and variables of a pip: the interpreter's own, or the one that ``ensurepip`` carries."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"], dict(os.environ)
    base = base_interpreter()
    if base != sys.executable and subprocess.run([base, "-c", "import pip"], capture_output=True).returncode == 0:
        return [base, "-m", "pip"], dict(os.environ)
    # Debian keeps the wheel in a folder of its own, and only with python3-venv.
    folders = [Path("/usr/share/python-wheels")]
    if spec := importlib.util.find_spec("ensurepip"):
        folders.extend(Path(place) / "_bundled" for place in spec.submodule_search_locations or ())
    for wheel in (found for folder in folders for found in folder.glob("pip-*.whl")):
        return [sys.executable, "-m", "pip"], {**os.environ, "PYTHONPATH": str(wheel)}
    raise MachineError(
        f"{sys.executable} has no pip", remedy="install it, on Debian with `apt-get install python3-venv`"
    )


def base_interpreter() -> str:
    """Return the interpreter that runs this, or the one that its virtual environment was made with."""
    return str(getattr(sys, "_base_executable", sys.executable))
