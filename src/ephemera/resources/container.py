"""A container: hardened by default, gated, and listed in the environment's outputs."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pulumi
import pulumi_docker as docker

from ephemera.contract import labels
from ephemera.contract.catalog import Source
from ephemera.contract.errors import InputError
from ephemera.contract.images import AnyImage, is_root
from ephemera.contract.names import check_service_name
from ephemera.host.probes import ExecProbe, describe
from ephemera.resources import policy
from ephemera.resources.environment import Environment
from ephemera.resources.gates import Gate
from ephemera.resources.volume import Volume

# With times, which say nothing: for what is not given, the engine takes the image's own, and a preview would find them.
_NO_HEALTHCHECK = docker.ContainerHealthcheckArgs(
    tests=["NONE"], interval="1s", timeout="1s", start_period="1s", retries=1
)
_CAPABILITY = re.compile(r"(?!CAP_)[A-Z][A-Z_]{1,30}")


@dataclass(frozen=True, kw_only=True)
class Port:
    """An endpoint's port in the container. ``path``: appended to its URL, ``/tasker``."""

    number: int
    scheme: str = "http"
    path: str = ""


@dataclass(frozen=True, kw_only=True)
class HealthCheck:
    """The engine's own health check; durations in seconds. ``command``: as Docker takes it, without a shell."""

    command: Sequence[str]
    interval_seconds: int
    timeout_seconds: int
    retries: int
    start_period_seconds: int


@dataclass(frozen=True, kw_only=True)
class ContainerArgs:
    """What a container is.

    ``image``: one that the system's catalog entry lists. ``ports``: by endpoint name. ``variables``: of the process's
    environment. ``gate``: when it counts as ready; where nothing is published,
    the health check's command asks instead. ``needs``: containers that must be ready before this one is created.
    ``volumes``: by path in the container. ``tmpfs``: mount options by path (``size=64m``).
    ``memory_mb``: MiB; ``cpus``: cores; ``pids``: processes and threads.
    ``user``: overrides the image's; root is refused without ``root_reason``.
    ``capabilities``: those it keeps, ``CHOWN``, each with the reason why. ``writable_root_reason``, ``root_reason``:
    opting out of hardening, and why. ``stop_grace_seconds``: between the polite and the hard stop; 0 kills at once.
    ``credentials``, ``engine_capabilities``: listed in the outputs. ``data``: what brings its data back,
    ``module:NAME`` (:mod:`ephemera.contract.data`).
    """

    environment: Environment
    image: AnyImage
    gate: Gate
    ports: Mapping[str, Port] = field(default_factory=dict)
    variables: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    command: Sequence[str] | None = None
    healthcheck: HealthCheck | None = None
    needs: Sequence[Container] = ()
    volumes: Mapping[str, Volume] = field(default_factory=dict)
    tmpfs: Mapping[str, str] = field(default_factory=lambda: {"/tmp": "size=64m"})  # noqa: S108 - in the container
    memory_mb: int = 256
    cpus: float = 1.0
    pids: int = 256
    user: str | None = None
    capabilities: Mapping[str, str] = field(default_factory=dict)
    writable_root_reason: str = ""
    root_reason: str = ""
    stop_grace_seconds: int = 0
    publish: bool = True
    credentials: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    engine_capabilities: Mapping[str, str] = field(default_factory=dict)
    data: str = ""


class Container(pulumi.ComponentResource):
    """One service of an environment.

    Type token ``ephemera:index:Container``. Makes one ``docker.Container`` named ``<stack>-<service>``, reachable in
    the network under the service's name. Hardened: no root, no capabilities, ``no-new-privileges``, limits of memory,
    CPU and processes, read-only root with tmpfs, an init process, log rotation (three files of 10 MB).

    Its outputs resolve when its gate has passed. Refuses (``InputError``, before anything is created): a service name
    that is no DNS label of at most 40 characters, limits that are not positive, a port outside 1 to 65535, root without
    a reason, a capability without a reason and all of them at once.
    """

    ready: pulumi.Output[str]
    """The container's id, known when the service is ready."""
    endpoints: Mapping[str, pulumi.Output[Mapping[str, Any]]]
    """By name; known when the service is ready."""

    def __init__(self, service: str, args: ContainerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        check(service, args)
        super().__init__("ephemera:index:Container", service, None, opts)
        environment = args.environment
        if not args.root_reason.strip() and args.user is None:
            _refuse_root(service, environment.image_user(args.image))
        hosts = {
            name: environment.host_address(service, name, port.number) if args.publish else None
            for name, port in args.ports.items()
        }
        gate = _gate(service, args, any(host is not None for host in hosts.values()))
        environment.policy.excuse(service, _reasons(args))
        source = environment.source(service)
        if source is not None:
            environment.policy.mount_source(service, str(source.folder), source.target)
        command = source.command if source is not None and source.command else args.command
        variables = {**args.variables, **environment.development_variables(service)}
        container = docker.Container(
            service,
            name=f"{environment.stack}-{service}",
            hostname=service,
            image=environment.image_id(args.image),
            command=list(command) if command is not None else None,
            envs=[pulumi.Output.concat(key, "=", value) for key, value in sorted(variables.items())],
            ports=[
                docker.ContainerPortArgs(
                    internal=args.ports[name].number, external=host[1], ip=environment.bind_address(), protocol="tcp"
                )
                for name, host in hosts.items()
                if host is not None
            ],
            network_mode="bridge",
            networks_advanced=[docker.ContainerNetworksAdvancedArgs(name=environment.network, aliases=[service])],
            volumes=[*_volumes(args), *_sources(source)],
            healthcheck=_healthcheck(args, gate),
            labels=[
                docker.ContainerLabelArgs(label=key, value=value)
                for key, value in {**environment.labels(service), **_one_shot(gate)}.items()
            ],
            must_run=not gate.probe.finishes,
            restart="no",
            user=args.user,
            init=True,
            read_only=not args.writable_root_reason.strip(),
            tmpfs=dict(args.tmpfs),
            capabilities=docker.ContainerCapabilitiesArgs(
                adds=[f"CAP_{name}" for name in sorted(args.capabilities)], drops=["ALL"]
            ),
            security_opts=["no-new-privileges"],
            memory=args.memory_mb,
            memory_swap=args.memory_mb,
            cpus=_cpus(args.cpus),
            log_driver="json-file",
            log_opts={"max-size": "10m", "max-file": "3"},
            destroy_grace_seconds=args.stop_grace_seconds or None,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[_started_after(needed) for needed in args.needs]),
        )
        self.resource: pulumi.Resource = container
        self.ready = container.id.apply(lambda identifier: self._passed(service, identifier, args, gate, hosts))
        self.endpoints = {
            name: self.ready.apply(partial(_endpoint, service, port, hosts[name])) for name, port in args.ports.items()
        }
        environment.offer(
            service,
            {
                # The document is known when all gates have passed, also that of a service without endpoints.
                "container": self.ready.apply(lambda _: container.name),
                "image": container.image,
                "endpoints": dict(self.endpoints),
                "credentials": dict(args.credentials),
                "capabilities": dict(args.engine_capabilities),
                "readiness": describe(gate.probe),
                "data": args.data,
            },
        )
        self.register_outputs({"id": self.ready, "endpoints": dict(self.endpoints)})

    async def _passed(
        self,
        service: str,
        identifier: str,
        args: ContainerArgs,
        gate: Gate,
        hosts: Mapping[str, tuple[str, int] | None],
    ) -> str:
        if not pulumi.runtime.is_dry_run():
            gatekeeper = args.environment.gatekeeper
            published = next((host for host in hosts.values() if host is not None), (None, None))
            with gatekeeper.in_sight(service, identifier):
                await asyncio.gather(
                    asyncio.to_thread(args.environment.limit_processes, identifier, args.pids),
                    gatekeeper.passed(service, identifier, gate, *published),
                )
        return identifier


def _one_shot(gate: Gate) -> dict[str, str]:
    return {labels.ONE_SHOT: "true"} if gate.probe.finishes else {}


def _volumes(args: ContainerArgs) -> list[docker.ContainerVolumeArgs]:
    return [
        docker.ContainerVolumeArgs(container_path=path, volume_name=volume.volume)
        for path, volume in args.volumes.items()
    ]


def _sources(source: Source | None) -> list[docker.ContainerVolumeArgs]:
    if source is None:
        return []
    return [docker.ContainerVolumeArgs(container_path=source.target, host_path=str(source.folder), read_only=True)]


def check(service: str, args: ContainerArgs) -> None:
    """Refuse plain values that cannot work: pure, no I/O."""
    check_service_name(service)
    for name, value in (("memory_mb", args.memory_mb), ("cpus", args.cpus), ("pids", args.pids)):
        if not 0 < value < math.inf:  # which NaN is not either
            raise InputError(f"{name} of service {service!r} is {value}", remedy="it must be positive")
    for name, port in args.ports.items():
        if not 1 <= port.number <= 65535:
            raise InputError(f"port {name!r} of service {service!r} is {port.number}", remedy="1 to 65535 are accepted")
    for capability, reason in args.capabilities.items():
        if not _CAPABILITY.fullmatch(capability) or capability == "ALL":
            raise InputError(
                f"capability {capability!r} of service {service!r} is not valid",
                remedy="give each by its name, as `man capabilities` has it, without CAP_: CHOWN",
            )
        if not reason.strip():
            raise InputError(
                f"service {service!r} is to keep capability {capability} without a reason",
                remedy=f'capabilities={{"{capability}": "what it needs it for"}}',
            )
    if args.user is not None and not args.root_reason.strip():
        _refuse_root(service, args.user)


def _refuse_root(service: str, user: str) -> None:
    if is_root(user):
        raise InputError(f"service {service!r} is to run as root", remedy="give another user, or a root_reason")


def _reasons(args: ContainerArgs) -> dict[str, str]:
    return {
        "root": args.root_reason,
        "writable_root": args.writable_root_reason,
        # A setting of the user's, which opts out for the whole environment.
        "publish": args.environment.settings.publish_host,
        **{policy.capability_rule(name): reason for name, reason in args.capabilities.items()},
    }


def _gate(service: str, args: ContainerArgs, published: bool) -> Gate:
    """The gate, or one that runs the health check's command in the container when nothing can be asked from outside."""
    if published or not args.gate.probe.from_outside:
        return args.gate
    if args.healthcheck is None:
        raise InputError(
            f"service {service!r} publishes nothing, and its gate asks from outside",
            remedy="give it a healthcheck, whose command is then run inside, or a probe such as ExecProbe",
        )
    return replace(args.gate, probe=ExecProbe(command=args.healthcheck.command))


def _healthcheck(args: ContainerArgs, gate: Gate) -> docker.ContainerHealthcheckArgs | None:
    health = args.healthcheck
    if health is None:
        # The image's own asks a server. What is to end is none, and would be told to be unhealthy for ever.
        return _NO_HEALTHCHECK if gate.probe.finishes else None
    return docker.ContainerHealthcheckArgs(
        tests=["CMD", *health.command],
        interval=_duration(health.interval_seconds),
        timeout=_duration(health.timeout_seconds),
        start_period=_duration(health.start_period_seconds),
        retries=health.retries,
    )


def _cpus(cores: float) -> str:
    # As the provider prints what it reads back, so that a preview sees no difference: nine decimals without trailing
    # zeros, but "1.0" where there are nine of them (helpers.go, nanoInt64ToDecimalString).
    text = f"{cores:.9f}"
    return f"{cores:.1f}" if text.count("0") == 9 else text.rstrip("0")


def _duration(seconds: int) -> str:
    # As Go prints it, so that what is read back equals what was given.
    minutes, rest = divmod(seconds, 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def _started_after(needed: Container) -> pulumi.Resource | pulumi.Output[pulumi.Resource]:
    # A preview knows no ids of what is not there yet, and has no gates to wait for.
    if pulumi.runtime.is_dry_run():
        return needed.resource
    started: pulumi.Output[pulumi.Resource] = needed.ready.apply(lambda _: needed.resource)
    return started


def _endpoint(service: str, port: Port, host: tuple[str, int] | None, _ready: str) -> dict[str, Any]:
    internal = f"{port.scheme}://{service}:{port.number}{port.path}"
    return {
        "scheme": port.scheme,
        "host": host[0] if host else None,
        "port": host[1] if host else None,
        "url": f"{port.scheme}://{host[0]}:{host[1]}{port.path}" if host else None,
        "internal_host": service,
        "internal_port": port.number,
        "internal_url": internal,
    }
