"""A container: hardened by default, gated, and listed in the environment's outputs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar, dataclass_transform, get_args

import pulumi
import pulumi_docker as docker

from ephemera.contract import declared, labels
from ephemera.contract.catalog import Source
from ephemera.contract.errors import InputError
from ephemera.contract.images import AnyImage, is_root
from ephemera.contract.names import check_service_name
from ephemera.contract.redaction import PUBLIC_PURPOSES
from ephemera.host.ports import Protocol
from ephemera.host.probes import Exec, Probe, describe
from ephemera.resources import arguments, given, policy, spelling
from ephemera.resources.environment import Environment, current
from ephemera.resources.gates import Gate, beside
from ephemera.resources.volume import Volume, check_volume_name

_C = TypeVar("_C")
_TMPFS = {"/tmp": "size=64m"}  # noqa: S108 - in the container


@dataclass(frozen=True, kw_only=True)
class Port:
    """An endpoint's port in the container. ``scheme``: of its URL; ``udp`` unless given, for one of UDP. ``path``:
    appended to its URL, ``/tasker``. ``protocol``: what carries it, ``tcp`` or ``udp``.

    Several endpoints may have the same number: each is published on a port of its own.
    """

    number: int = field(kw_only=False)
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

    command: Sequence[str | float | bool] = field(kw_only=False)
    interval_seconds: float = 10
    timeout_seconds: float = 5
    retries: int = 10
    start_period_seconds: float = 15


@dataclass_transform(kw_only_default=True, eq_default=False, field_specifiers=(field,))
def component(cls: type[_C]) -> type[_C]:
    """Make a class whose fields are a component's arguments: each by its keyword, but for the name."""
    return dataclass(kw_only=True, eq=False, repr=False)(cls)


@component
class Container(pulumi.ComponentResource):
    """One service of an environment.

    Type token ``ephemera:index:Container``; that of a class made from it has its name. Makes one ``docker.Container``
    named ``<stack>-<name>``, reachable in the network under ``name``. Hardened: no root, no capabilities,
    ``no-new-privileges``, limits of memory, CPU and processes, read-only root with tmpfs, an init process, log rotation
    (three files of 10 MB).

    Its outputs resolve when it is ready. A changed argument arrives at the next ``up``: memory and the limit of
    processes in the running container; readiness, endpoints, credentials and what else only the outputs hold without
    one; everything else in a new container.

    Refuses (``InputError``, before anything is created) every plain value that Docker would not take or would read
    otherwise, root without a reason, and capabilities without a reason.
    """

    name: str = field(kw_only=False)
    """Of the service: a DNS label."""
    image: AnyImage | str
    """One that is built or made here, or the reference of one that somebody publishes: ``nats:2``."""
    ready: Probe | None = None
    """How it is asked whether it is ready; without one, by its health check's command."""
    timeout_seconds: float = 60.0
    """From its container's start until it is ready."""
    ports: Mapping[str, int | Port] = field(default_factory=dict)
    """By the endpoint's name: a number, which is for HTTP, or a ``Port``."""
    variables: Mapping[str, pulumi.Input[str | float | bool]] = field(default_factory=dict)
    """Of the process's environment. Numbers and booleans become text as in JSON (``5``, ``0.5``, ``true``), here, in
    ``command`` and in ``credentials``."""
    command: Sequence[str | float | bool] | None = None
    """A list of words, run without a shell; without one, the image's own."""
    healthcheck: HealthCheck | None = None
    """Docker's own; without one, the image's. Its command also asks for readiness where nothing is published."""
    needs: Sequence[Container] = ()
    """Those that must be ready before this one is created. One whose output is among the variables, or in the command,
    need not be named."""
    wants: Sequence[Container] = ()
    """As ``needs``, where they are part of the environment: with ``--only`` they may be left out, and variables that
    hold their outputs with them."""
    profile: str | None = None
    """It is part of an environment only when this profile is asked for, or something else requires it."""
    required: bool | None = None
    """Whether the system is of use without it; unless given, with a profile it is."""
    source: Source | None = None
    """Code on this machine that development mode mounts."""
    volumes: Mapping[str, str | Volume] = field(default_factory=dict)
    """By absolute path in the container: the name of one that is made for it, or one that several share."""
    tmpfs: Mapping[str, str] = field(default_factory=lambda: dict(_TMPFS))
    """Mount options by path in the container: ``size=64m``, ``""`` for none."""
    memory_mb: int = 256
    """MiB, 6 or more."""
    cpus: float = 1.0
    """0.01 or more, no more than the Docker host has."""
    pids: int = 256
    """Processes and threads."""
    run_as: str | None = None
    """User, instead of the image's: ``app``, ``1000:1000``; root is refused without ``root_reason``."""
    capabilities: Mapping[str, str] = field(default_factory=dict)
    """Those it keeps, ``CHOWN``, each with the reason why."""
    writable_root_reason: str = ""
    """Why its root file system is writable."""
    root_reason: str = ""
    """Why it runs as root."""
    stop_grace_seconds: int = 0
    """Between the polite and the hard stop; 0 kills at once."""
    publish: bool = True
    """Whether its ports can be reached from this machine."""
    credentials: Mapping[str, pulumi.Input[str | float | bool]] = field(default_factory=dict)
    """Listed in the outputs."""
    engine_capabilities: Mapping[str, str | float | bool] = field(default_factory=dict)
    """Listed in the outputs: what the service can do."""
    data: str = ""
    """What brings its data back, ``module:NAME`` (:mod:`ephemera.contract.data`)."""
    opts: pulumi.ResourceOptions | None = None
    """Of Pulumi; the parent is the environment, unless given."""

    resource: pulumi.Resource | None = field(init=False)
    """Docker's container; None where the service is not part of the environment."""
    started: pulumi.Output[str] = field(init=False)
    """The container's id, known when the service is ready."""
    endpoints: Mapping[str, pulumi.Output[Mapping[str, Any]]] = field(init=False)
    """By name; known when the service is ready."""

    def __post_init__(self) -> None:
        self.environment = current()
        check_service_name(self.name)
        self.prepare()
        self.check()
        service, environment = self.name, self.environment
        environment.declare(self)
        if not environment.has(service):
            self.resource = None
            self.started = _unknown()
            self.endpoints = dict.fromkeys(self.ports, _unknown())
            return
        if not self.root_reason.strip() and self.run_as is None:
            _refuse_root(service, environment.image_user(self.image))
        if self.cpus > 1:  # every host has one: no need to ask
            declared.check_cpus(f"service {service!r}", self.cpus, environment.cores())
        source = self.source if environment.settings.development else None
        self._refuse_covered(source)
        ports = {name: port_of(port) for name, port in self.ports.items()}
        hosts = {
            name: environment.host_address(service, name, port.number, port.protocol) if self.publish else None
            for name, port in ports.items()
        }
        asked = _asked(ports, hosts)
        gate = self._gate(ports, published=asked is not None)
        if not gate.probe.finishes:  # whose address is free again when it has ended
            environment.give_address(service)
        parent = pulumi.ResourceOptions(parent=environment)
        super().__init__(
            f"ephemera:index:{type(self).__name__}", service, None, pulumi.ResourceOptions.merge(parent, self.opts)
        )
        environment.policy.vouch(self, service, self._reasons())
        if source is not None:
            environment.policy.mount_source(service, str(source.folder), source.target)
        container = self._registered(source, ports, hosts, gate)
        self.resource = container
        self.started = container.id.apply(lambda identifier: self._passed(identifier, gate, asked))
        self.endpoints = {
            name: self.started.apply(partial(_endpoint, service, port, hosts[name])) for name, port in ports.items()
        }
        environment.offer(
            service,
            {
                # The document is known when all gates have passed, also that of a service without endpoints.
                "container": self.started.apply(lambda _: container.name),
                "image": container.image,
                "endpoints": dict(self.endpoints),
                "credentials": {
                    name: given.text(f"credential {name!r} of service {service!r}", value)
                    for name, value in self.credentials.items()
                },
                "capabilities": {
                    name: arguments.text_of(f"engine capability {name!r} of service {service!r}", value)
                    for name, value in self.engine_capabilities.items()
                },
                "readiness": describe(gate.probe),
                "data": self.data,
            },
        )
        self.register_outputs({"id": self.started, "endpoints": dict(self.endpoints)})

    def prepare(self) -> None:
        """Check and complete the arguments, in a component that is made from this one; nothing is registered yet."""

    def check(self) -> None:
        """Raise for plain values that cannot work. Pure, no I/O."""
        owner = f"service {self.name!r}"
        arguments.check_image(owner, self.image)
        arguments.check_ready(owner, self.ready, self.timeout_seconds)
        declared.check_mapping(f"ports of {owner}", self.ports, (int, Port), "a port: 8000, or a Port")
        for name, port in self.ports.items():
            arguments.check_port(owner, name, port_of(port).number, port_of(port).scheme, port_of(port).path)
        arguments.check_variables(owner, self.variables)
        if self.command is not None:
            arguments.check_command(f"command of {owner}", self.command)
        if self.healthcheck is not None:
            declared.expect(f"healthcheck of {owner}", self.healthcheck, HealthCheck, "a HealthCheck")
            arguments.check_health(owner, **vars(self.healthcheck))
        for name, containers in (("needs", self.needs), ("wants", self.wants)):
            declared.check_sequence(f"{name} of {owner}", containers, "a list of containers")
            for each in containers:
                declared.expect(
                    f"one of {name} of {owner}", each, Container, "a Container, or a component made from it"
                )
        if self.profile is not None:
            arguments.check_name(f"profile of {owner}", self.profile)
        declared.expect(f"required of {owner}", self.required, (bool, type(None)), "True or False")
        if self.source is not None:
            declared.expect(f"source of {owner}", self.source, Source, "a Source")
        arguments.check_places(owner, self.volumes, self.tmpfs)
        declared.check_mapping(f"volumes of {owner}", self.volumes, (str, Volume), "a Volume, or the name of one")
        for volume in self.volumes.values():
            if isinstance(volume, str):
                check_volume_name(owner, volume)
        declared.check_limits(owner, memory_mb=self.memory_mb, cpus=self.cpus, pids=self.pids)
        arguments.check_capabilities(owner, self.capabilities)
        for name in ("writable_root_reason", "root_reason"):
            declared.expect(f"{name} of {owner}", getattr(self, name), str, "a text")
        if self.run_as is not None:
            arguments.check_user(owner, self.run_as)
            if not self.root_reason.strip():
                _refuse_root(self.name, self.run_as)
        declared.check_whole(f"stop_grace_seconds of {owner}", self.stop_grace_seconds, 0)
        declared.expect(f"publish of {owner}", self.publish, bool, "True or False")
        arguments.check_named(f"credentials of {owner}", self.credentials)
        arguments.check_named(f"engine_capabilities of {owner}", self.engine_capabilities)
        arguments.check_data(owner, self.data)

    def _registered(
        self,
        source: Source | None,
        ports: Mapping[str, Port],
        hosts: Mapping[str, tuple[str, int] | None],
        gate: Gate,
    ) -> docker.Container:
        service, environment = self.name, self.environment
        image = partial(environment.image_config, self.image)
        words = source.command if source is not None and source.command else self.command
        command, entrypoint = given.command(service, words, image)
        present = environment.present(service, self.variables)
        variables = environment.marked(
            {**present, **(environment.development_variables() if source is not None else {})}
        )
        volumes = {
            arguments.place(path): Volume(volume, opts=pulumi.ResourceOptions(parent=self))
            if isinstance(volume, str)
            else volume
            for path, volume in self.volumes.items()
        }
        tmpfs = {arguments.place(path): options for path, options in self.tmpfs.items()}
        healthcheck = given.healthcheck(service, self.healthcheck, image, finishes=gate.probe.finishes)
        for purpose in self.credentials.keys() - PUBLIC_PURPOSES:
            environment.hide(self.credentials[purpose])
        return docker.Container(
            service,
            name=f"{environment.stack}-{service}",
            hostname=service,
            image=environment.image_id(self.image),
            command=command,
            entrypoints=entrypoint,
            envs=[given.variable(service, name, value) for name, value in sorted(variables.items())],
            ports=[
                docker.ContainerPortArgs(
                    internal=ports[name].number,
                    external=host[1],
                    ip=environment.bind_address(),
                    protocol=ports[name].protocol,
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
                    **environment.labels(service, developed=source is not None),
                    **_one_shot(gate),
                    **_secrets(environment, variables),
                }.items()
            ],
            must_run=not gate.probe.finishes,
            restart="no",
            user=self.run_as,
            init=True,
            read_only=not self.writable_root_reason.strip(),
            tmpfs=tmpfs,
            capabilities=docker.ContainerCapabilitiesArgs(
                adds=[f"CAP_{name}" for name in sorted(self.capabilities)], drops=["ALL"]
            ),
            security_opts=["no-new-privileges"],
            memory=self.memory_mb,
            memory_swap=self.memory_mb,
            cpus=spelling.cpus(self.cpus),
            log_driver="json-file",
            log_opts={"max-size": "10m", "max-file": "3"},
            destroy_grace_seconds=self.stop_grace_seconds or None,
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[_started_after(each) for each in (*self.needs, *self.wants) if environment.has(each.name)],
                # What the provider can neither update in place nor knows to need a new container (ADR 0032).
                replacement_trigger=environment.fingerprint(
                    {
                        "healthcheck": given.plain(healthcheck),
                        "tmpfs": tmpfs,
                        "command": bool(command),
                        "entrypoint": bool(entrypoint),
                        "user": bool(self.run_as),
                        "variables": bool(variables),
                    }
                ),
                delete_before_replace=True,  # its name and its ports can be held by one container only
                ignore_changes=["ports"] if self._same_ports(ports, hosts) else [],
            ),
        )

    async def _passed(self, identifier: str, gate: Gate, asked: tuple[str, int] | None) -> str:
        if not pulumi.runtime.is_dry_run():
            service, environment = self.name, self.environment
            finishes = gate.probe.finishes
            with environment.gatekeeper.in_sight(service, identifier):
                await beside(lambda: environment.limit_memory(identifier, self.memory_mb), f"limit {service}")
                # Here, and not all at once beforehand: what it needs is ready by now.
                await beside(lambda: environment.revive(identifier, finishes=finishes), f"revive {service}")
                await asyncio.gather(
                    beside(lambda: environment.limit_processes(identifier, self.pids), f"limit {service}"),
                    environment.gatekeeper.passed(service, identifier, gate, *(asked or (None, None))),
                )
        return identifier

    def _refuse_covered(self, source: Source | None) -> None:
        if source is not None and source.target in map(arguments.place, (*self.volumes, *self.tmpfs)):
            raise InputError(
                f"service {self.name!r} has a volume or tmpfs at {source.target}, where its source folder is mounted",
                remedy="leave it out, or give the Source another target",
            )

    def _reasons(self) -> dict[str, str]:
        return {
            "root": self.root_reason,
            "writable_root": self.writable_root_reason,
            # A setting of the user's, which opts out for the whole environment.
            "publish": self.environment.settings.publish_host,
            **{policy.capability_rule(name): reason for name, reason in self.capabilities.items()},
        }

    def _same_ports(self, ports: Mapping[str, Port], hosts: Mapping[str, tuple[str, int] | None]) -> bool:
        """Whether the container that is there publishes the same. The provider compares lists, and reads several ports
        in an order of Docker's, which may be another one after each start: it would find a difference, and replace
        it."""
        bind = self.environment.bind_address()
        published = [
            (f"{ports[name].number}/{ports[name].protocol}", bind, host[1])
            for name, host in hosts.items()
            if host is not None
        ]
        return len(published) > 1 and self.environment.publishes(self.name, published)

    def _gate(self, ports: Mapping[str, Port], *, published: bool) -> Gate:
        """The gate, by the health check's command in the container when nothing can be asked from outside."""
        service, probe, health = self.name, self.ready, self.healthcheck
        if isinstance(probe, Exec):
            probe = replace(probe, command=given.plain_words(service, probe.command))
        elif probe is None or (probe.from_outside and not published):
            could_be_asked = self.publish and any(port.protocol == "tcp" for port in ports.values())
            if health is not None:
                probe = Exec(given.plain_words(service, health.command))
            elif probe is None:
                raise InputError(
                    f"service {service!r} does not say when it is ready",
                    remedy='give it ready=Http("/health"), Tcp(), Exec([…]) or ExitZero(), or a healthcheck',
                )
            # Nothing is asked in a rehearsal, and `up` refuses it only where nothing is published.
            elif not (self.environment.rehearsed and could_be_asked):
                anything = "nothing over TCP" if any(port.protocol == "udp" for port in ports.values()) else "nothing"
                raise InputError(
                    f"service {service!r} publishes {anything}, and its probe asks from outside",
                    remedy="give it a healthcheck, whose command is then run inside, or a probe such as Exec",
                )
        return Gate(probe=probe, timeout_seconds=self.timeout_seconds)

    def complete(self, **own: Any) -> None:
        """Complete the arguments by a component's own: mappings beside those that were given, which must not name the
        same; everything else unless it was given."""
        for name, value in own.items():
            before = getattr(self, name)
            if isinstance(value, Mapping) and isinstance(before, Mapping):
                arguments.refuse_reserved(self.name, name, before, value)
                setattr(self, name, {**before, **value})
            elif not isinstance(value, Mapping) and before in (None, ""):
                setattr(self, name, value)


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


def _refuse_root(service: str, user: str) -> None:
    if is_root(user):
        raise InputError(f"service {service!r} is to run as root", remedy="give another user, or a root_reason")


def port_of(port: int | Port) -> Port:
    """Return the endpoint's port: a number alone is one of HTTP."""
    return port if isinstance(port, Port) else Port(port)


def _unknown() -> pulumi.Output[Any]:
    """An output of a service that is not part of the environment: nothing that is made from it is ever known."""
    return pulumi.Output(set(), _later(None), _later(False))


async def _later(value: Any) -> Any:
    return value


def _asked(ports: Mapping[str, Port], hosts: Mapping[str, tuple[str, int] | None]) -> tuple[str, int] | None:
    """Where a probe asks from outside: the first endpoint that is published over TCP, as ``ServiceOutputs.asked``."""
    return next((host for name, host in hosts.items() if host is not None and ports[name].protocol == "tcp"), None)


def _started_after(needed: Container) -> pulumi.Resource | pulumi.Output[pulumi.Resource]:
    # A preview knows no ids of what is not there yet, and has no gates to wait for.
    assert needed.resource is not None  # noqa: S101 - it is part of the environment
    resource: pulumi.Resource = needed.resource
    return resource if pulumi.runtime.is_dry_run() else needed.started.apply(lambda _: resource)


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
