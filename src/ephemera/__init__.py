"""Ephemeral test environments as code: a whole application stack per branch, per test run, per night.

What a project of one's own imports is here.

Everything is imported when it is asked for: what declares needs no Pulumi, and what brings data back needs neither.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ephemera.contract.catalog import Option, Source
    from ephemera.contract.data import NO_DATA
    from ephemera.contract.errors import EphemeraError
    from ephemera.contract.images import EngineImage
    from ephemera.contract.runner import Runner
    from ephemera.contract.system import System
    from ephemera.host.probes import Exec, ExitZero, Http, Probe, Target, Tcp
    from ephemera.images.declaring import Build
    from ephemera.resources.arguments import HealthCheck, Port
    from ephemera.resources.container import Container, component
    from ephemera.resources.environment import Environment
    from ephemera.resources.program import run
    from ephemera.resources.rehearsal import check_policy
    from ephemera.resources.volume import Volume

__version__ = "0.1.0"

_MODULES = {
    "contract.catalog": ("Option", "Source"),
    "contract.data": ("NO_DATA",),
    "contract.errors": ("EphemeraError",),
    "contract.images": ("EngineImage",),
    "contract.runner": ("Runner",),
    "contract.system": ("System",),
    "images.declaring": ("Build",),
    "host.probes": ("Exec", "ExitZero", "Http", "Probe", "Target", "Tcp"),
    "resources.arguments": ("HealthCheck", "Port"),
    "resources.container": ("Container", "component"),
    "resources.environment": ("Environment",),
    "resources.program": ("run",),
    "resources.rehearsal": ("check_policy",),
    "resources.volume": ("Volume",),
}
_WHERE = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "NO_DATA",
    "Build",
    "Container",
    "EngineImage",
    "Environment",
    "EphemeraError",
    "Exec",
    "ExitZero",
    "HealthCheck",
    "Http",
    "Option",
    "Port",
    "Probe",
    "Runner",
    "Source",
    "System",
    "Target",
    "Tcp",
    "Volume",
    "check_policy",
    "component",
    "run",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
