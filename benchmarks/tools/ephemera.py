"""ephemera, by its command, with state of its own."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.processes import Command
from benchmarks.tools.tool import Environment, variables
from benchmarks.workload import Workload
from ephemera import images
from ephemera.model import labels

_ROOT = Path(__file__).resolve().parents[2]
PROJECT = _ROOT / "benchmarks" / "project"
_SECONDS = 180


@dataclass(frozen=True, kw_only=True)
class Ephemera:
    """``state``: what ``XDG_STATE_HOME`` is for it."""

    state: Path
    name: str = "ephemera"
    updates: bool = True
    service_label: str = labels.SERVICE
    claims: dict[str, str] = field(default_factory=dict)
    """Stacks of environments that were claimed, by the environment's name."""

    @property
    def extras(self) -> Ephemera:
        return self

    def version(self) -> str:
        return importlib.metadata.version("ephemera")

    def label(self, environment: Environment) -> str:
        return f"{labels.STACK}={self._stack(environment)}"

    def up(self, environment: Environment) -> Command:
        change = environment.workload.change
        setting = f"{change.option}={change.values[environment.variant]}"
        named = [environment.workload.name, "--branch", environment.name]
        return self._command("up", *named, "--config", setting, "--output", "json")

    def down(self, environment: Environment) -> Command:
        return self._command("down", self._stack(environment), "--output", "json")

    def fill(self, workload: Workload) -> Command:
        setting = f"{workload.change.option}={workload.change.values[0]}"
        return self._command("pool", "--system", workload.name, "--size", "1", "--wait", "--config", setting)

    def empty(self, workload: Workload) -> Command:
        return self._command("pool", "--system", workload.name, "--size", "0")

    def claimed(self, environment: Environment) -> None:
        for each in self.json("ls", "--output", "json"):
            if each["branch"] == environment.name:
                self.claims[environment.name] = each["stack"]

    def data(self, environment: Environment, times: Path) -> Command:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "suite"]
        given = {**self._variables(), "BENCH_TIMES": str(times), "BENCH_SYSTEM": environment.workload.name}
        return Command(argv=[*command, "--ephemera-env", self._stack(environment)], variables=given, cwd=PROJECT)

    def reset(self, environment: Environment) -> Command:
        return self._command("reset", self._stack(environment), "--output", "json")

    def clear(self) -> None:
        for environment in self.json("ls", "--output", "json"):
            self.json("down", environment["stack"], "--output", "json")

    @property
    def backend(self) -> str:
        """Label of all that it makes here."""
        identity = (self.state / "ephemera" / "backend-id").read_text()
        return f"{labels.BACKEND}={identity}"

    def json(self, *arguments: str) -> Any:
        """Run it without measuring; what it prints."""
        command = self._command(*arguments)
        done = subprocess.run(
            command.argv,
            env=command.variables,
            cwd=command.cwd,
            stdout=subprocess.PIPE,
            check=True,
            timeout=_SECONDS,
            start_new_session=True,
        )
        return json.loads(done.stdout)

    def _command(self, *arguments: str) -> Command:
        # The installed command; `./ephemera` of a checkout checks the checkout first.
        return Command(
            argv=[str(Path(sys.executable).with_name("ephemera")), *arguments], variables=self._variables(), cwd=PROJECT
        )

    def _variables(self) -> Mapping[str, str]:
        own = {
            "XDG_STATE_HOME": str(self.state),
            "EPHEMERA_IMAGES": images.mode(),
            # The project that is measured uses the checkout's components and systems.
            "PYTHONPATH": str(_ROOT),
            # A variable that Python could read makes the warm process one of this run's own, which it can measure.
            "PYTHON_BENCHMARK": str(os.getpid()),
        }
        return variables(**own)

    def _stack(self, environment: Environment) -> str:
        return self.claims.get(environment.name, f"{environment.workload.name}-{environment.name}")
