"""What is brought up: the containers of a system, read from the engine while ephemera had them running.

So every tool gets the same images, commands, variables, limits, health checks and order, and none can lag behind the
catalog: whoever changes a system changes what all of them are measured with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ephemera.model.catalog import Manifest
from ephemera.model.outputs import ServiceOutputs


@dataclass(frozen=True, kw_only=True)
class Health:
    """The engine's health check; durations in seconds."""

    command: tuple[str, ...]
    interval: float
    timeout: float
    start_period: float
    retries: int


@dataclass(frozen=True, kw_only=True)
class Service:
    """One container. ``image``: a reference that the engine has. ``ports``: published ones. ``readiness``: the probe
    that says when it is ready (:mod:`ephemera.host.probes`). ``volumes``: paths of named volumes. ``memory``: bytes."""

    name: str
    image: str
    command: tuple[str, ...]
    variables: Mapping[str, str]
    ports: tuple[int, ...]
    health: Health
    readiness: Mapping[str, Any]
    requires: tuple[str, ...]
    volumes: tuple[str, ...]
    tmpfs: Mapping[str, str]
    user: str
    memory: int
    nano_cpus: int
    pids: int
    capabilities: tuple[str, ...]
    read_only: bool


@dataclass(frozen=True, kw_only=True)
class Change:
    """A change of one service's environment variable: ``option`` of the system, as ``variable`` in ``service``."""

    option: str
    service: str
    variable: str
    values: tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A system by its name in ``benchmarks/project``. ``services``: in the order in which they can be started."""

    name: str
    change: Change
    services: tuple[Service, ...] = field(default=())

    def variant(self, number: int) -> tuple[Service, ...]:
        """The services before (0) or after (1) the change."""
        value = self.change.values[number]
        return tuple(
            replace(service, variables={**service.variables, self.change.variable: value})
            if service.name == self.change.service
            else service
            for service in self.services
        )


WORKLOADS = (
    Workload(
        name="postgres-redis",
        change=Change(option="revision", service="redis", variable="REVISION", values=("1", "2")),
    ),
    Workload(
        name="tasker",
        change=Change(option="lease_seconds", service="worker", variable="TASKER_LEASE_SECONDS", values=("5", "6")),
    ),
)


def service_of(
    system: Manifest, outputs: ServiceOutputs, name: str, container: Mapping[str, Any], image: Mapping[str, Any]
) -> Service:
    """The service ``name`` from what the engine says of its container and of that one's image."""
    config, host = container["Config"], container["HostConfig"]
    own = dict(pair.split("=", 1) for pair in image["Config"]["Env"] or ())
    given = dict(pair.split("=", 1) for pair in config["Env"] or ())
    health = config["Healthcheck"]
    references = (*(image["RepoTags"] or ()), *(image["RepoDigests"] or ()), image["Id"])
    return Service(
        name=name,
        image=references[0],
        command=tuple(config["Cmd"] or ()),
        variables={key: value for key, value in given.items() if own.get(key) != value},
        ports=tuple(sorted(int(port.partition("/")[0]) for port in host["PortBindings"] or ())),
        health=Health(
            command=tuple(health["Test"][1:]),
            interval=health["Interval"] / 1e9,
            timeout=health["Timeout"] / 1e9,
            start_period=health["StartPeriod"] / 1e9,
            retries=health["Retries"],
        ),
        readiness=outputs.readiness,
        requires=system.services[name].requires,
        volumes=tuple(mount["Destination"] for mount in container["Mounts"] if mount["Type"] == "volume"),
        tmpfs=host["Tmpfs"] or {},
        user=config["User"],
        memory=host["Memory"],
        nano_cpus=host["NanoCpus"],
        pids=host["PidsLimit"] or 0,
        capabilities=tuple(host["CapAdd"] or ()),
        read_only=host["ReadonlyRootfs"],
    )
