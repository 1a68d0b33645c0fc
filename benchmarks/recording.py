"""Workloads as ephemera makes them: brought up once, read from the engine, taken down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING

from benchmarks import processes
from benchmarks.tools import Ephemera
from benchmarks.tools.ephemera import PROJECT
from benchmarks.tools.tool import Environment
from benchmarks.workload import Service, Workload, service_of
from ephemera.model.outputs import EnvironmentOutputs
from ephemera.pulumi.workspace import Workspace

if TYPE_CHECKING:
    from docker import DockerClient

# Images may have to be built first.
_SECONDS = 1800.0


def recorded(client: DockerClient, ephemera: Ephemera, workload: Workload, name: str) -> Workload:
    """The workload with its services."""
    system = Workspace(PROJECT).catalog[workload.name]
    environment = Environment(name=name, workload=workload)
    processes.run([ephemera.up(environment)], _SECONDS)
    try:
        outputs = EnvironmentOutputs.parse(ephemera.json("outputs", f"{workload.name}-{name}"))
        services: dict[str, Service] = {}
        for service, known in outputs.services.items():
            container = client.api.inspect_container(known.container)
            image = client.api.inspect_image(container["Image"])
            services[service] = service_of(system, known, service, container, image)
    finally:
        processes.run([ephemera.down(environment)], _SECONDS)
    return replace(workload, services=startable(services))


def startable(services: Mapping[str, Service]) -> tuple[Service, ...]:
    """The services, each after those that it requires."""
    sorter = TopologicalSorter({name: service.requires for name, service in services.items()})
    return tuple(services[name] for name in sorter.static_order())
