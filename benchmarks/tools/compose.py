"""Docker Compose: a file with the same containers, gated by health checks that come often enough."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.processes import Command
from benchmarks.tools.tool import ENVIRONMENT_LABEL, SERVICE_LABEL, Environment, variables
from benchmarks.workload import Service

_SECONDS = 180


@dataclass(frozen=True, kw_only=True)
class Compose:
    """``executable``: command line of Compose. ``folder``: for its files. ``interval_seconds``: of the health checks;
    Compose knows of readiness by them alone. ``stop_seconds``: grace before a stop by force, Docker's own when None."""

    name: str
    executable: Sequence[str]
    folder: Path
    interval_seconds: float
    stop_seconds: int | None = None
    updates: bool = True
    extras: None = None
    service_label: str = SERVICE_LABEL

    def version(self) -> str:
        done = subprocess.run(
            [*self.executable, "version", "--short"], capture_output=True, text=True, check=True, timeout=_SECONDS
        )
        return done.stdout.strip()

    def label(self, environment: Environment) -> str:
        return f"{ENVIRONMENT_LABEL}={environment.name}"

    def up(self, environment: Environment) -> Command:
        self.folder.mkdir(parents=True, exist_ok=True)
        document = compose_file(environment, self.interval_seconds)
        self._file(environment.name).write_text(yaml.safe_dump(document, sort_keys=False))
        return self._command(environment.name, "up", "--detach", "--wait")

    def down(self, environment: Environment) -> Command:
        return self._command(environment.name, "down", "--volumes", *self._stop())

    def clear(self) -> None:
        for file in self.folder.glob("*.yaml"):
            command = self._command(file.stem, "down", "--volumes", "--timeout", "0")
            subprocess.run(
                command.argv,
                env=command.variables,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=True,
                timeout=_SECONDS,
                start_new_session=True,
            )
        if self.folder.exists():
            shutil.rmtree(self.folder)

    def _command(self, name: str, *arguments: str) -> Command:
        argv = [*self.executable, "--project-name", name, "--file", str(self._file(name)), *arguments]
        return Command(argv=argv, variables=variables(), cwd=self.folder)

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.yaml"

    def _stop(self) -> Sequence[str]:
        return () if self.stop_seconds is None else ("--timeout", str(self.stop_seconds))


def compose_file(environment: Environment, interval_seconds: float) -> dict[str, Any]:
    """The file, as plain values."""
    named = {
        _volume(service, path): {"labels": _labels(environment)}
        for service in environment.services
        for path in service.volumes
    }
    return {
        "services": {
            service.name: _service(environment, service, interval_seconds) for service in environment.services
        },
        "networks": {"default": {"labels": _labels(environment)}},
        "volumes": named,
    }


def _service(environment: Environment, service: Service, interval_seconds: float) -> dict[str, Any]:
    health = service.health
    return {
        "image": service.image,
        "pull_policy": "never",
        "command": [_literal(part) for part in service.command],
        "environment": {key: _literal(value) for key, value in service.variables.items()},
        "labels": {**_labels(environment), SERVICE_LABEL: service.name},
        "depends_on": {name: {"condition": "service_healthy"} for name in service.requires},
        # As with the other tools: on loopback, and no two environments in each other's way.
        "ports": [f"127.0.0.1::{port}" for port in service.ports],
        "healthcheck": {
            "test": ["CMD", *map(_literal, health.command)],
            "interval": _duration(interval_seconds),
            "timeout": _duration(health.timeout),
            "start_period": _duration(health.start_period),
            "retries": health.retries,
        },
        "volumes": [f"{_volume(service, path)}:{path}" for path in service.volumes],
        "tmpfs": [f"{path}:{options}" if options else path for path, options in service.tmpfs.items()],
        "user": service.user,
        "init": True,
        "read_only": service.read_only,
        "cap_drop": ["ALL"],
        "cap_add": list(service.capabilities),
        "security_opt": ["no-new-privileges"],
        "mem_limit": service.memory,
        "memswap_limit": service.memory,
        "cpus": service.nano_cpus / 1e9,
        "pids_limit": service.pids,
        "logging": {"driver": "json-file", "options": {"max-size": "10m", "max-file": "3"}},
    }


def _labels(environment: Environment) -> dict[str, str]:
    return {ENVIRONMENT_LABEL: environment.name}


def _volume(service: Service, path: str) -> str:
    return f"{service.name}-{path.strip('/').replace('/', '-')}"


def _literal(text: str) -> str:
    # Compose puts variables in where it finds a dollar sign.
    return text.replace("$", "$$")


def _duration(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"
