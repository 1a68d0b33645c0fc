"""The engine's API alone, everything side by side, asked in the services' own protocols: the floor."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import Command
from benchmarks.tools.tool import ENVIRONMENT_LABEL, SERVICE_LABEL, Environment, variables
from ephemera.docker.connection import docker_host

_PROGRAM = Path(__file__).resolve().parents[1] / "programs" / "docker_api.py"


@dataclass(frozen=True, kw_only=True)
class DockerApi:
    """``folder``: for descriptions of what is to be brought up. What it leaves is swept by label."""

    folder: Path
    name: str = "docker_api"
    updates: bool = False
    extras: None = None
    service_label: str = SERVICE_LABEL

    def version(self) -> str:
        return ""

    def label(self, environment: Environment) -> str:
        return f"{ENVIRONMENT_LABEL}={environment.name}"

    def up(self, environment: Environment) -> Command:
        return self._command("up", environment)

    def down(self, environment: Environment) -> Command:
        return self._command("down", environment)

    def clear(self) -> None:
        pass

    def _command(self, what: str, environment: Environment) -> Command:
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / f"{environment.name}.json"
        file.write_text(json.dumps(environment.document()))
        argv = [sys.executable, "-P", str(_PROGRAM), docker_host(), what, str(file)]
        return Command(argv=argv, variables=variables(), cwd=self.folder)
