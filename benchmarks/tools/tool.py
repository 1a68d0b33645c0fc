"""What a tool has to tell so that it can be measured."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from benchmarks.processes import Command
from benchmarks.workload import Service, Workload

ENVIRONMENT_LABEL = "ephemera-bench.environment"
"""On all that tools without labels of their own make: the environment's name."""
SERVICE_LABEL = "ephemera-bench.service"
_HIDDEN = ("EPHEMERA_", "COMPOSE_", "TESTCONTAINERS_", "TC_", "PULUMI_")


@dataclass(frozen=True, kw_only=True)
class Environment:
    """One environment of a workload under a name of its own. ``variant``: before (0) or after (1) the change."""

    name: str
    workload: Workload
    variant: int = 0

    @property
    def services(self) -> tuple[Service, ...]:
        """What it consists of."""
        return self.workload.variant(self.variant)

    def document(self) -> dict[str, Any]:
        """As plain values, for a program that brings it up."""
        return {
            "name": self.name,
            "environment_label": ENVIRONMENT_LABEL,
            "service_label": SERVICE_LABEL,
            "services": [asdict(service) for service in self.services],
        }


class Tool(Protocol):
    """How a tool is called. Whatever :meth:`up` and :meth:`down` have to write is written before the clock starts."""

    @property
    def name(self) -> str:
        """In tables and results."""
        ...

    @property
    def updates(self) -> bool:
        """Whether it can be called again for what is already up."""
        ...

    @property
    def extras(self) -> Extras | None:
        """What it can do besides."""
        ...

    @property
    def service_label(self) -> str:
        """Label of a container with its service's name."""
        ...

    def version(self) -> str:
        """Its version."""
        ...

    def label(self, environment: Environment) -> str:
        """``key=value`` that all objects of the environment have, and no others."""
        ...

    def up(self, environment: Environment) -> Command:
        """Bring it up, or bring what is up to the environment's variant."""
        ...

    def down(self, environment: Environment) -> Command | None:
        """Take it down; None when the process that brought it up does so at its end."""
        ...

    def clear(self) -> None:
        """Take down whatever this run or an earlier one left."""
        ...


class Extras(Protocol):
    """What a tool can do besides, which is measured too."""

    def fill(self, workload: Workload) -> Command:
        """Keep one environment of it ready, and wait until it is."""
        ...

    def empty(self, workload: Workload) -> Command:
        """Keep none ready any more."""
        ...

    def claimed(self, environment: Environment) -> None:
        """``up`` may have given one that was kept ready: find out by which name."""
        ...

    def data(self, environment: Environment, times: Path) -> Command:
        """Bring data back and give tests databases of their own; writes how long each took, a line of JSON each."""
        ...

    def reset(self, environment: Environment) -> Command:
        """Bring all data back to what it was."""
        ...


def variables(**given: str) -> Mapping[str, str]:
    """A process environment without what would change a tool's behaviour unseen, and with what is given."""
    return {**{key: value for key, value in os.environ.items() if not key.startswith(_HIDDEN)}, **given}
