"""A container: hardened by default, gated, and listed in the environment's outputs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, get_args

import pulumi
import pulumi_docker as docker

from ephemera.contract import declared, labels
from ephemera.contract.catalog import Source
from ephemera.contract.errors import InputError
from ephemera.contract.images import AnyImage, is_root
from ephemera.contract.names import check_service_name
from ephemera.contract.redaction import PUBLIC_PURPOSES
from ephemera.host.ports import Protocol
from ephemera.host.probes import ExecProbe, describe
from ephemera.resources import arguments, given, policy, spelling
from ephemera.resources.environment import Environment
from ephemera.resources.gates import Gate, beside
from ephemera.resources.volume import Volume


@dataclass(frozen=True, kw_only=True)
class Port:
    """An endpoint's port in the container. ``scheme``: of its URL; ``udp`` unless given, for one of UDP. ``path``:
    appended to its URL, ``/tasker``. ``protocol``: what carries it, ``tcp`` or ``udp``.

    Several endpoints may have the same number: each is published on a port of its own.
    """

    number: int
    scheme: str = "http"
    path: str = ""
    protocol: Protocol = "tcp"

    def __post_init__(self) -> None:
        if self.protocol not in get_args(Protocol):
            raise InputError(f"protocol of port {self.number} is {self.protocol!r}", remedy="it must be tcp or udp")
        if self.protocol == "udp" and self.scheme == "http":  # which UDP does not carry
            object.__setattr__(self, "scheme", "udp")


@dataclass(frozen=True, kw_only=True)
class HealthCheck:
    """Docker's own health check; durations in seconds, a millisecond or more; the start period may be 0.
    ``command``: a list of words, run without a shell. ``retries``: 1 or more."""

    command: Sequence[str | float | bool]
    interval_seconds: float
    timeout_seconds: float
    retries: int
    start_period_seconds: float


@dataclass(frozen=True, kw_only=True)
class ContainerArgs:
    """What a container is.

    ``image``: one that the system's catalog entry lists. ``ports``: by endpoint name. ``variables``: of the process's
    environment; numbers and booleans become text as in JSON (``5``, ``0.5``, ``true``), here, in ``command`` and in
    ``credentials``. ``command``: a list of words, run without a shell; without one, the image's own. ``gate``: when it
    counts as ready; where nothing is published, the health check's command asks instead. ``healthcheck``: without one,
    the image's own. ``needs``: containers that must be ready before this one is created.
    ``volumes``: by absolute path in the container. ``tmpfs``: mount options by path (``size=64m``, ``""`` for none).
    ``memory_mb``: MiB, 6 or more; ``cpus``: 0.01 or more, no more than the Docker host has; ``pids``: processes and
    threads.
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
    variables: Mapping[str, pulumi.Input[str | float | bool]] = field(default_factory=dict)
    command: Sequence[str | float | bool] | None = None
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
    credentials: Mapping[str, pulumi.Input[str | float | bool]] = field(default_factory=dict)
    engine_capabilities: Mapping[str, str | float | bool] = field(default_factory=dict)
    data: str = ""


class Container(pulumi.ComponentResource):
    """One service of an environment.

    Type token ``ephemera:index:Container``. Makes one ``docker.Container`` named ``<stack>-<service>``, reachable in
    the network under the service's name. Hardened: no root, no capabilities, ``no-new-privileges``, limits of memory,
    CPU and processes, read-only root with tmpfs, an init process, log rotation (three files of 10 MB).

    Its outputs resolve when its gate has passed. A changed argument arrives at the next ``up``: memory and the limit of
    processes in the running container; gate, endpoints, credentials and what else only the outputs hold without one;
    everything else in a new container.

    Refuses (``InputError``, before anything is created) every plain value that Docker would not take or would read
    otherwise, root without a reason, and capabilities without a reason.
    """

    ready: pulumi.Output[str]
    """The container's id, known when the service is ready."""
    endpoints: Mapping[str, pulumi.Output[Mapping[str, Any]]]
    """By name; known when the service is ready."""

    def __init__(self, service: str, args: ContainerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        check(service, args)
        environment = args.environment
        if not args.root_reason.strip() and args.user is None:
            _refuse_root(service, environment.image_user(args.image))
        if args.cpus > 1:  # every host has one: no need to ask
            declared.check_cpus(f"service {service!r}", args.cpus, environment.cores())
        source = environment.source(service)
        _refuse_covered(service, args, source)
        hosts = {
            name: environment.host_address(service, name, port.number, port.protocol) if args.publish else None
            for name, port in args.ports.items()
        }
        asked = _asked(args, hosts)
        gate = _gate(service, args, published=asked is not None)
        environment.claim("service", service)
        if not gate.probe.finishes:  # whose address is free again when it has ended
            environment.give_address(service)
        super().__init__("ephemera:index:Container", service, None, opts)
        environment.policy.excuse(service, _reasons(args))
        if source is not None:
            environment.policy.mount_source(service, str(source.folder), source.target)
        image = partial(environment.image_config, args.image)
        words = source.command if source is not None and source.command else args.command
        command, entrypoint = given.command(service, words, image)
        variables = environment.marked({**args.variables, **environment.development_variables(service)})
        volumes = {arguments.place(path): volume for path, volume in args.volumes.items()}
        tmpfs = {arguments.place(path): options for path, options in args.tmpfs.items()}
        healthcheck = given.healthcheck(service, args.healthcheck, image, finishes=gate.probe.finishes)
        for purpose in args.credentials.keys() - PUBLIC_PURPOSES:
            environment.hide(args.credentials[purpose])
        container = docker.Container(
            service,
            name=f"{environment.stack}-{service}",
            hostname=service,
            image=environment.image_id(args.image),
            command=command,
            entrypoints=entrypoint,
            envs=[given.variable(service, name, value) for name, value in sorted(variables.items())],
            ports=[
                docker.ContainerPortArgs(
                    internal=args.ports[name].number,
                    external=host[1],
                    ip=environment.bind_address(),
                    protocol=args.ports[name].protocol,
                )
                for name, host in hosts.items()
                if host is not None
            ],
            network_mode="bridge",
            networks_advanced=[docker.ContainerNetworksAdvancedArgs(name=environment.network, aliases=[service])],
            volumes=[*_volumes(volumes), *_sources(source)],
            healthcheck=healthcheck,
            labels=[
                docker.ContainerLabelArgs(label=key, value=value)
                for key, value in {
                    **environment.labels(service),
                    **_one_shot(gate),
                    **_secrets(environment, variables),
                }.items()
            ],
            must_run=not gate.probe.finishes,
            restart="no",
            user=args.user,
            init=True,
            read_only=not args.writable_root_reason.strip(),
            tmpfs=tmpfs,
            capabilities=docker.ContainerCapabilitiesArgs(
                adds=[f"CAP_{name}" for name in sorted(args.capabilities)], drops=["ALL"]
            ),
            security_opts=["no-new-privileges"],
            memory=args.memory_mb,
            memory_swap=args.memory_mb,
            cpus=spelling.cpus(args.cpus),
            log_driver="json-file",
            log_opts={"max-size": "10m", "max-file": "3"},
            destroy_grace_seconds=args.stop_grace_seconds or None,
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[_started_after(needed) for needed in args.needs],
                # What the provider can neither update in place nor knows to need a new container (ADR 0032).
                replacement_trigger=environment.fingerprint(
                    {
                        "healthcheck": given.plain(healthcheck),
                        "tmpfs": tmpfs,
                        "command": bool(command),
                        "entrypoint": bool(entrypoint),
                        "user": bool(args.user),
                        "variables": bool(variables),
                    }
                ),
                delete_before_replace=True,  # its name and its ports can be held by one container only
                ignore_changes=["ports"] if _same_ports(service, args, hosts) else [],
            ),
        )
        self.resource: pulumi.Resource = container
        self.ready = container.id.apply(lambda identifier: self._passed(service, identifier, args, gate, asked))
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
                "credentials": {
                    name: given.text(f"credential {name!r} of service {service!r}", value)
                    for name, value in args.credentials.items()
                },
                "capabilities": {
                    name: arguments.text_of(f"engine capability {name!r} of service {service!r}", value)
                    for name, value in args.engine_capabilities.items()
                },
                "readiness": describe(gate.probe),
                "data": args.data,
            },
        )
        self.register_outputs({"id": self.ready, "endpoints": dict(self.endpoints)})

    async def _passed(
        self, service: str, identifier: str, args: ContainerArgs, gate: Gate, asked: tuple[str, int] | None
    ) -> str:
        if not pulumi.runtime.is_dry_run():
            gatekeeper = args.environment.gatekeeper
            finishes = gate.probe.finishes
            with gatekeeper.in_sight(service, identifier):
                await beside(lambda: args.environment.limit_memory(identifier, args.memory_mb), f"limit {service}")
                # Here, and not all at once beforehand: what it needs is ready by now.
                await beside(lambda: args.environment.revive(identifier, finishes=finishes), f"revive {service}")
                await asyncio.gather(
                    beside(lambda: args.environment.limit_processes(identifier, args.pids), f"limit {service}"),
                    gatekeeper.passed(service, identifier, gate, *(asked or (None, None))),
                )
        return identifier


def _one_shot(gate: Gate) -> dict[str, str]:
    return {labels.ONE_SHOT: "true"} if gate.probe.finishes else {}


def _secrets(environment: Environment, variables: Mapping[str, pulumi.Input[Any]]) -> dict[str, pulumi.Input[str]]:
    """Which variables are secret, said on the container: whoever shows what it wrote hides their values."""
    outputs = {name: value for name, value in variables.items() if isinstance(value, pulumi.Output)}

    async def names() -> str:
        secret = [name for name, value in sorted(outputs.items()) if await value.is_secret()]
        for name in secret:
            environment.hide(outputs[name])
        return json.dumps(secret)

    return {labels.SECRETS: pulumi.Output.from_input(names())} if outputs else {}


def _volumes(volumes: Mapping[str, Volume]) -> list[docker.ContainerVolumeArgs]:
    return [
        docker.ContainerVolumeArgs(container_path=path, volume_name=volume.volume) for path, volume in volumes.items()
    ]


def _sources(source: Source | None) -> list[docker.ContainerVolumeArgs]:
    if source is None:
        return []
    return [docker.ContainerVolumeArgs(container_path=source.target, host_path=str(source.folder), read_only=True)]


def check(service: str, args: ContainerArgs) -> None:
    """Raise for plain values that cannot work. Pure, no I/O."""
    check_service_name(service)
    owner = f"service {service!r}"
    arguments.check_args(owner, args, ContainerArgs)
    declared.expect(f"gate of {owner}", args.gate, Gate, "a Gate: Gate(probe=HttpProbe())")
    arguments.check_gate(owner, args.gate.probe, args.gate.timeout_seconds)
    declared.check_mapping(f"ports of {owner}", args.ports, Port, "a Port: Port(number=8000)")
    for name, port in args.ports.items():
        arguments.check_port(owner, name, port.number, port.scheme, port.path)
    arguments.check_variables(owner, args.variables)
    if args.command is not None:
        arguments.check_command(f"command of {owner}", args.command)
    if args.healthcheck is not None:
        declared.expect(f"healthcheck of {owner}", args.healthcheck, HealthCheck, "a HealthCheck")
        arguments.check_health(owner, **vars(args.healthcheck))
    declared.check_sequence(f"needs of {owner}", args.needs, "a list of containers")
    for needed in args.needs:
        declared.expect(f"one of needs of {owner}", needed, Container, "a Container; a component has it as .container")
    arguments.check_places(owner, args.volumes, args.tmpfs)
    declared.check_mapping(f"volumes of {owner}", args.volumes, Volume, "a Volume")
    declared.check_limits(owner, memory_mb=args.memory_mb, cpus=args.cpus, pids=args.pids)
    arguments.check_capabilities(owner, args.capabilities)
    for name in ("writable_root_reason", "root_reason"):
        declared.expect(f"{name} of {owner}", getattr(args, name), str, "a text")
    if args.user is not None:
        arguments.check_user(owner, args.user)
        if not args.root_reason.strip():
            _refuse_root(service, args.user)
    declared.check_whole(f"stop_grace_seconds of {owner}", args.stop_grace_seconds, 0)
    declared.expect(f"publish of {owner}", args.publish, bool, "True or False")
    arguments.check_named(f"credentials of {owner}", args.credentials)
    arguments.check_named(f"engine_capabilities of {owner}", args.engine_capabilities)
    arguments.check_data(owner, args.data)


def _refuse_root(service: str, user: str) -> None:
    if is_root(user):
        raise InputError(f"service {service!r} is to run as root", remedy="give another user, or a root_reason")


def _refuse_covered(service: str, args: ContainerArgs, source: Source | None) -> None:
    if source is not None and source.target in map(arguments.place, (*args.volumes, *args.tmpfs)):
        raise InputError(
            f"service {service!r} has a volume or tmpfs at {source.target}, where its source folder is mounted",
            remedy="leave it out, or give the Source another target",
        )


def _reasons(args: ContainerArgs) -> dict[str, str]:
    return {
        "root": args.root_reason,
        "writable_root": args.writable_root_reason,
        # A setting of the user's, which opts out for the whole environment.
        "publish": args.environment.settings.publish_host,
        **{policy.capability_rule(name): reason for name, reason in args.capabilities.items()},
    }


def _asked(args: ContainerArgs, hosts: Mapping[str, tuple[str, int] | None]) -> tuple[str, int] | None:
    """Where a probe asks from outside: the first endpoint that is published over TCP, as ``ServiceOutputs.asked``."""
    return next((host for name, host in hosts.items() if host is not None and args.ports[name].protocol == "tcp"), None)


def _same_ports(service: str, args: ContainerArgs, hosts: Mapping[str, tuple[str, int] | None]) -> bool:
    """Whether the container that is there publishes the same. The provider compares lists, and reads several ports in
    an order of Docker's, which may be another one after each start: it would find a difference, and replace it."""
    bind = args.environment.bind_address()
    ports = [
        (f"{args.ports[name].number}/{args.ports[name].protocol}", bind, host[1])
        for name, host in hosts.items()
        if host is not None
    ]
    return len(ports) > 1 and args.environment.publishes(service, ports)


def _gate(service: str, args: ContainerArgs, *, published: bool) -> Gate:
    """The gate, or one that runs the health check's command in the container when nothing can be asked from outside."""
    probe = args.gate.probe
    if isinstance(probe, ExecProbe):
        return replace(args.gate, probe=replace(probe, command=given.plain_words(service, probe.command)))
    if published or not probe.from_outside:
        return args.gate
    health = args.healthcheck
    if health is None:
        could_be_asked = args.publish and any(port.protocol == "tcp" for port in args.ports.values())
        if args.environment.rehearsed and could_be_asked:
            return args.gate  # nothing is asked in a rehearsal, and `up` refuses it only where nothing is published
        anything = "nothing over TCP" if any(port.protocol == "udp" for port in args.ports.values()) else "nothing"
        raise InputError(
            f"service {service!r} publishes {anything}, and its gate asks from outside",
            remedy="give it a healthcheck, whose command is then run inside, or a probe such as ExecProbe",
        )
    return replace(args.gate, probe=ExecProbe(command=given.plain_words(service, health.command)))


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
        # Left out where it is what documents without it mean.
        **({"protocol": port.protocol} if port.protocol != "tcp" else {}),
    }
