"""Ephemeral test environments as code: a whole application stack per branch, per test run, per night.

The front door: everything that a project imports, except components, which are in :mod:`ephemera.components`. A name
imports its module when it is used first: declaring a system needs no Pulumi, and resetting data needs neither.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ephemera.host.probes import Exec, ExitZero, Http, PostgresProbe, Probe, RedisProbe, Target, Tcp
    from ephemera.images.declaring import Build
    from ephemera.model.catalog import Option, Source
    from ephemera.model.data import NO_DATA, DataError, DataService
    from ephemera.model.errors import EphemeraError
    from ephemera.model.images import EngineImage
    from ephemera.model.runner import Runner
    from ephemera.model.system import System
    from ephemera.pytest_plugin.environments import EnvironmentFactory, RunningEnvironment
    from ephemera.resources.arguments import HealthCheck, Port
    from ephemera.resources.container import Container, component
    from ephemera.resources.environment import Environment, Volume
    from ephemera.resources.program import run
    from ephemera.resources.rehearsal import check_policy

__version__ = "0.1.0"

__all__ = [
    "NO_DATA",
    "Build",
    "Container",
    "DataError",
    "DataService",
    "EngineImage",
    "Environment",
    "EnvironmentFactory",
    "EphemeraError",
    "Exec",
    "ExitZero",
    "HealthCheck",
    "Http",
    "Option",
    "Port",
    "PostgresProbe",
    "Probe",
    "RedisProbe",
    "Runner",
    "RunningEnvironment",
    "Source",
    "System",
    "Target",
    "Tcp",
    "Volume",
    "check_policy",
    "component",
    "run",
]


def lazily(package: str, modules: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a package whose names import their modules when they are used.

    ``modules``: names by module, relative to the package.
    """
    module_of = {name: f"{package}.{module}" for module, names in modules.items() for name in names}

    def attribute(name: str) -> Any:
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(module_of[name]), name)

    return attribute


__getattr__ = lazily(
    __name__,
    {
        "model.catalog": ("Option", "Source"),
        "model.data": ("NO_DATA", "DataError", "DataService"),
        "model.errors": ("EphemeraError",),
        "model.images": ("EngineImage",),
        "model.runner": ("Runner",),
        "model.system": ("System",),
        "images.declaring": ("Build",),
        "pytest_plugin.environments": ("EnvironmentFactory", "RunningEnvironment"),
        "host.probes": ("Exec", "ExitZero", "Http", "PostgresProbe", "Probe", "RedisProbe", "Target", "Tcp"),
        "resources.arguments": ("HealthCheck", "Port"),
        "resources.container": ("Container", "component"),
        "resources.environment": ("Environment", "Volume"),
        "resources.program": ("run",),
        "resources.rehearsal": ("check_policy",),
    },
)
