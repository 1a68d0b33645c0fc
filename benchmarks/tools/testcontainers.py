"""testcontainers-python, from a process that uses it as a test run does: it holds what it started until it ends."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import Command
from benchmarks.tools.tool import ENVIRONMENT_LABEL, SERVICE_LABEL, Environment, variables

_PROGRAM = Path(__file__).resolve().parents[1] / "programs" / "with_testcontainers.py"
_VERSION = "import importlib.metadata; print(importlib.metadata.version('testcontainers'))"


@dataclass(frozen=True, kw_only=True)
class Testcontainers:
    """``python``: interpreter that has it. ``folder``: for descriptions. What it leaves is swept by label."""

    __test__ = False  # no test, whatever pytest thinks of the name

    python: Path
    folder: Path
    name: str = "testcontainers"
    updates: bool = False
    extras: None = None
    service_label: str = SERVICE_LABEL

    def version(self) -> str:
        done = subprocess.run([self.python, "-c", _VERSION], capture_output=True, text=True, check=True, timeout=60)
        return done.stdout.strip()

    def label(self, environment: Environment) -> str:
        return f"{ENVIRONMENT_LABEL}={environment.name}"

    def up(self, environment: Environment) -> Command:
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / f"{environment.name}.json"
        file.write_text(json.dumps(environment.document()))
        # Its reaper is a container of an image that a machine without a registry cannot get; we sweep by label.
        settings = variables(TESTCONTAINERS_RYUK_DISABLED="true")
        argv = [str(self.python), "-P", str(_PROGRAM), str(file)]
        return Command(argv=argv, variables=settings, cwd=self.folder, holds=True)

    def down(self, environment: Environment) -> None:  # noqa: ARG002
        return None

    def clear(self) -> None:
        pass
