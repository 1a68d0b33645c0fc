"""What every component is made of: Environment, Container (hardened, gated), Image, gates and probes."""

from ephemera.host.probes import (
    Exec,
    ExitZero,
    Http,
    PostgresProbe,
    Probe,
    RedisProbe,
    Target,
    Tcp,
)
from ephemera.resources.container import Container, HealthCheck, Port, component
from ephemera.resources.environment import Environment
from ephemera.resources.image import Image
from ephemera.resources.program import run_project
from ephemera.resources.volume import Volume

__all__ = [
    "Container",
    "Environment",
    "Exec",
    "ExitZero",
    "HealthCheck",
    "Http",
    "Image",
    "Port",
    "PostgresProbe",
    "Probe",
    "RedisProbe",
    "Target",
    "Tcp",
    "Volume",
    "component",
    "run_project",
]
