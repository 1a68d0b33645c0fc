"""What is measured: ephemera, and what a user would take instead."""

from benchmarks.tools.compose import Compose
from benchmarks.tools.docker_api import DockerApi
from benchmarks.tools.ephemera import Ephemera
from benchmarks.tools.testcontainers import Testcontainers
from benchmarks.tools.tool import ENVIRONMENT_LABEL, SERVICE_LABEL, Environment, Tool

__all__ = [
    "ENVIRONMENT_LABEL",
    "SERVICE_LABEL",
    "Compose",
    "DockerApi",
    "Environment",
    "Ephemera",
    "Testcontainers",
    "Tool",
]
