"""A workload, samples and a tool, without Docker."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.load import Load
from benchmarks.processes import Command
from benchmarks.rounds import Failure, Sample
from benchmarks.tools import Environment
from benchmarks.workload import Change, Health, Service, Workload

QUIET = Load(busy=0.01, average=0.1)

CACHE = Service(
    name="cache",
    image="ephemera/redis:1",
    command=("sh", "-c", "exec redis-server $OPTIONS"),
    variables={"REVISION": "1", "PASSWORD": "a$b"},
    ports=(6379,),
    health=Health(command=("redis-cli", "ping"), interval=5, timeout=3, start_period=10, retries=10),
    readiness={"type": "redis"},
    requires=(),
    volumes=(),
    tmpfs={"/data": "size=16m", "/tmp": ""},  # noqa: S108 - in the container
    user="redis",
    memory=134217728,
    nano_cpus=500_000_000,
    pids=64,
    capabilities=(),
    read_only=True,
)
API = replace(
    CACHE,
    name="api",
    requires=("cache",),
    volumes=("/var/lib/api",),
    capabilities=("CAP_CHOWN",),
    readiness={"type": "http", "path": "/", "status": 200},
)
WORKLOAD = Workload(
    name="shop",
    change=Change(option="revision", service="cache", variable="REVISION", values=("1", "2")),
    services=(CACHE, API),
)
ENVIRONMENT = Environment(name="bench-1", workload=WORKLOAD)


def sample(tool: str, measure: str, value: float, *, number: int = 0, before: Load = QUIET) -> Sample:
    """A measurement of the workload."""
    return Sample(workload="shop", tool=tool, measure=measure, round=number, value=value, before=before, after=QUIET)


def failure(tool: str, during: str) -> Failure:
    """A failure with the workload."""
    return Failure(workload="shop", tool=tool, during=during, round=1, reason="`tool up` ended with 1")


def python(code: str, *, holds: bool = False) -> Command:
    """A command that runs that."""
    return Command(argv=[sys.executable, "-c", code], holds=holds, cwd=Path("/"))


@dataclass
class FakeTool:
    """A tool whose commands do nothing, or fail. ``calls``: what it was asked for."""

    name: str
    updates: bool = True
    service_label: str = "service"
    extras: None = None
    fails: Sequence[str] = ()
    calls: list[str] = field(default_factory=list)

    def version(self) -> str:
        return "1"

    def label(self, environment: Environment) -> str:
        return f"environment={environment.name}"

    def up(self, environment: Environment) -> Command:
        return self._command(f"up{environment.variant}", environment)

    def down(self, environment: Environment) -> Command:
        return self._command("down", environment)

    def clear(self) -> None:
        raise AssertionError("a turn cleans up after itself")

    def _command(self, what: str, environment: Environment) -> Command:
        self.calls.append(f"{what} {environment.name}")
        return Command(argv=["false" if what in self.fails else "true"], variables={"PATH": "/usr/bin:/bin"})


class FakeObserver:
    """Sees what it is told; ``late``: seconds until what a tool said is so."""

    def __init__(self, log: list[str] | None = None, late: float = 0.0) -> None:
        self.swept: list[str] = []
        self.late = late

    def until_ready(self, tool: Any, environments: Sequence[Environment]) -> float:
        return self.late

    def until_gone(self, tool: Any, environments: Sequence[Environment]) -> float:
        return self.late

    def sweep(self, label: str) -> None:
        self.swept.append(label)


def inspected(**host: Any) -> Mapping[str, Any]:
    """What the engine says of a container."""
    return {
        "Config": {
            "Cmd": ["redis-server"],
            "Env": ["PATH=/bin", "REVISION=1", "PASSWORD=x=y"],
            "User": "redis",
            "Healthcheck": {
                "Test": ["CMD", "redis-cli", "ping"],
                "Interval": 5_000_000_000,
                "Timeout": 3_000_000_000,
                "StartPeriod": 500_000_000,
                "Retries": 10,
            },
        },
        "HostConfig": {
            "PortBindings": {"6379/tcp": [{"HostIp": "127.83.1.1", "HostPort": "6379"}], "81/tcp": []},
            "Tmpfs": None,
            "Memory": 1024,
            "NanoCpus": 5,
            "PidsLimit": 64,
            "CapAdd": None,
            "ReadonlyRootfs": True,
            **host,
        },
        "Mounts": [{"Type": "volume", "Destination": "/data"}, {"Type": "tmpfs", "Destination": "/tmp"}],  # noqa: S108
    }
