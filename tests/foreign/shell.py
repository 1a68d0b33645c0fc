"""A reader's terminal: what one command leaves in directory and environment, the next one finds."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

_DEADLINE_SECONDS = 240
_OF_CI = ("CI", "BUILD", "BITBUCKET_", "BRANCH_NAME", "DRONE_", "SEMAPHORE_")
"""Which may name a branch."""


class Shell:
    """``bash -e`` in ``folder``, with these variables alone."""

    def __init__(self, folder: Path, variables: Mapping[str, str]) -> None:
        self.folder = folder
        self.variables = dict(variables)
        self._left = folder / ".environment"

    def __call__(self, commands: str) -> str:
        """Run commands; what they print, both channels in one. Fails with all of it when one of them fails."""
        done = self.attempt(commands)
        assert done.returncode == 0, f"{commands}\nended with {done.returncode}:\n{done.stdout}"
        left = dict(line.split("=", 1) for line in self._left.read_text().split("\0") if line)
        self.folder = Path(left["PWD"])
        self.variables = left
        return done.stdout

    def attempt(self, commands: str) -> subprocess.CompletedProcess[str]:
        """Run commands that may fail; what they leave is not kept then."""
        return subprocess.run(
            ["bash", "-e", "-c", f"{commands}\nenv -0 > {self._left}"],
            cwd=self.folder,
            env=self.variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_DEADLINE_SECONDS,
            check=False,
        )


def of_a_stranger(folder: Path) -> dict[str, str]:
    """Variables of somebody who has nothing but this run's Python, and the toolchain in the cache.

    None that this checkout, this run or its CI has put there, and no command of the checkout's environment. ``folder``:
    for the state, and for ``python3``.
    """
    hidden = ("EPHEMERA_", "PULUMI_", "PYTEST_", "PYTHON", "VIRTUAL_ENV", "GIT", *_OF_CI)
    variables = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    python = folder / "bin" / "python3"
    python.parent.mkdir()
    python.symlink_to(Path(sys.executable).resolve())
    others = [part for part in variables["PATH"].split(os.pathsep) if Path(part) != Path(sys.executable).parent]
    path = os.pathsep.join((str(python.parent), *others))
    return {**variables, "PATH": path, "XDG_STATE_HOME": str(folder / "state"), "COLUMNS": "120"}
