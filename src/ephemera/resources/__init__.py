"""What every component is made of: Environment, Container (hardened, gated), Image, gates and probes."""

from ephemera.host.probes import (
    ExecProbe,
    ExitZeroProbe,
    HttpProbe,
    PostgresProbe,
    Probe,
    RedisProbe,
    Target,
    TcpProbe,
)
from ephemera.resources.container import Container, ContainerArgs, HealthCheck, Port
from ephemera.resources.environment import Environment, EnvironmentArgs
from ephemera.resources.gates import Gate
from ephemera.resources.image import Image, ImageArgs
from ephemera.resources.program import run_project
from ephemera.resources.volume import Volume, VolumeArgs

__all__ = [
    "Container",
    "ContainerArgs",
    "Environment",
    "EnvironmentArgs",
    "ExecProbe",
    "ExitZeroProbe",
    "Gate",
    "HealthCheck",
    "HttpProbe",
    "Image",
    "ImageArgs",
    "Port",
    "PostgresProbe",
    "Probe",
    "RedisProbe",
    "Target",
    "TcpProbe",
    "Volume",
    "VolumeArgs",
    "run_project",
]
