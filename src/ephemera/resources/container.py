"""A container: hardened by default, gated, and listed in the environment's outputs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar, dataclass_transform

import pulumi
import pulumi_docker as docker

from ephemera.host.probes import Exec, Probe, describe
from ephemera.model import declared, labels
from ephemera.model.catalog import Source
from ephemera.model.errors import InputError
from ephemera.model.images import AnyImage
from ephemera.model.names import check_service_name
from ephemera.model.redaction import PUBLIC_PURPOSES
from ephemera.resources import arguments, given, policy
from ephemera.resources.arguments import HealthCheck, Port
from ephemera.resources.environment import Environment, Volume, current
from ephemera.resources.gates import beside

_C = TypeVar("_C")
_Endpoints = Mapping[str, tuple[Port, tuple[str, int] | None]]
"""By name: the port, and the host and port that it is published on; None if it is not published."""


@dataclass_transform(kw_only_default=True, eq_default=False, field_specifiers=(field,))
def component(cls: type[_C]) -> type[_C]:
    """Make a class whose fields are a component's arguments: keyword arguments, except for ``name``."""
    return dataclass(kw_only=True, eq=False, repr=False)(cls)


@component
class Container(pulumi.ComponentResource):
    """One service of an environment.

    Type token ``ephemera:index:<ClassName>``. Makes one ``docker.Container`` named ``<stack>-<name>``, reachable in the
    network as ``name``, and a ``Volume`` for each name among ``volumes``. Hardened: no root, no capabilities,
    ``no-new-privileges``, limits of memory, CPU and processes, read-only root with tmpfs, an init process, log rotation
    (three files of 10 MB).

    Its outputs resolve when it is ready. A changed argument arrives at the next ``up``: memory and the limit of
    processes in the running container; readiness, endpoints, credentials and whatever else only the outputs hold
    without a new one; everything else in a new container.

    Raises ``InputError``, before anything is created, for every plain value that Docker would reject or read otherwise,
    for root without a reason, and for capabilities without a reason.
    """

    name: str = field(kw_only=False)
    """Of the service: a DNS label of at most 40 characters."""
    image: AnyImage | str
    """``Build(…)``, ``EngineImage(…)``, or a reference: ``nats:2``."""
    ready: Probe | None = None
    """How to tell that it is ready; by default, by its health check's command."""
    timeout_seconds: float = 60.0
    """From the container's start until it is ready."""
    ports: Mapping[str, int | Port] = field(default_factory=dict)
    """By endpoint name: a number, for HTTP, or a ``Port``."""
    variables: Mapping[str, pulumi.Input[str | float | bool]] = field(default_factory=dict)
    """Environment variables. Numbers and booleans become text as in JSON (``5``, ``0.5``, ``true``), as they do in
    ``command`` and ``credentials``."""
    command: Sequence[str | float | bool] | None = None
    """A list of words, run without a shell; by default, the image's own."""
    healthcheck: HealthCheck | None = None
    """Docker's own; by default, the image's. Its command also tells readiness where nothing is published."""
    needs: Sequence[Container] = ()
    """Containers that must be ready before this one is created. One whose output is among the variables, or in the
    command, need not be named."""
    wants: Sequence[Container] = ()
    """As ``needs``, for containers that ``--only`` may leave out, with the variables that hold their outputs."""
    profile: str | None = None
    """It is started only if this profile is asked for, or if another service requires it."""
    required: bool | None = None
    """Whether the system is of no use without it; by default, unless it has a profile."""
    source: Source | None = None
    """Source code on this machine that development mode mounts."""
    volumes: Mapping[str, str | Volume] = field(default_factory=dict)
    """By absolute path in the container: the name of a volume to make, or a ``Volume`` that several share."""
    tmpfs: Mapping[str, str] = field(default_factory=lambda: {"/tmp": "size=64m"})  # noqa: S108 - inside
    """Mount options by path in the container: ``size=64m``, ``""`` for none."""
    memory_mb: int = 256
    """Memory limit in MiB, swap included; 6 or more."""
    cpus: float = 1.0
    """CPU limit, 0.01 or more; no more than the Docker host has."""
    pids: int = 256
    """Limit of processes and threads."""
    run_as: str | None = None
    """User, by default the image's: ``app``, ``1000:1000``. Root needs a ``root_reason``."""
    capabilities: Mapping[str, str] = field(default_factory=dict)
    """Capabilities to keep, such as ``CHOWN``, each with the reason."""
    writable_root_reason: str = ""
    """Why its root file system is writable; empty keeps it read-only."""
    root_reason: str = ""
    """Why it runs as root; empty refuses root."""
    stop_grace_seconds: int = 0
    """Seconds between SIGTERM and SIGKILL; 0 kills at once."""
    publish: bool = True
    """Whether its ports can be reached from this machine."""
    credentials: Mapping[str, pulumi.Input[str | float | bool]] = field(default_factory=dict)
    """Listed in the outputs by purpose, hidden unless asked for."""
    engine_capabilities: Mapping[str, str | float | bool] = field(default_factory=dict)
    """Listed in the outputs as ``capabilities``: what the service can do."""
    data: str = ""
    """Implementation that resets its data, ``module:NAME`` (:mod:`ephemera.model.data`)."""
    opts: pulumi.ResourceOptions | None = None
    """Of Pulumi; the parent is the environment unless given."""

    resource: pulumi.Resource | None = field(init=False)
    """Docker's container; None if the service is not part of the environment."""
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
        environment.declare(service, self)
        if not environment.has(service):
            self.resource = None
            self.started = given.unknown()
            self.endpoints = dict.fromkeys(self.ports, given.unknown())
            return
        source = self.source if environment.settings.development else None
        self._check_in(environment, source)
        ports = {name: Port.of(port) for name, port in self.ports.items()}
        endpoints: _Endpoints = {
            name: (
                port,
                environment.host.address(service, name, port.number, port.protocol) if self.publish else None,
            )
            for name, port in ports.items()
        }
        # A probe from outside asks the first endpoint that is published over TCP, as in `ServiceOutputs.asked`.
        asked = next((host for port, host in endpoints.values() if host is not None and port.protocol == "tcp"), None)
        probe = self._probe(published=asked is not None)
        if not probe.finishes:  # a one-shot gives its address back when it ends
            environment.take_address(service)
        parent = pulumi.ResourceOptions(parent=environment)
        super().__init__(
            f"ephemera:index:{type(self).__name__}", service, None, pulumi.ResourceOptions.merge(parent, self.opts)
        )
        environment.policy.vouch(self, service, self._reasons())
        if source is not None:
            environment.policy.mount_source(service, str(source.path), source.target)
        self.resource = container = self._registered(source, endpoints, finishes=probe.finishes)
        self.started = container.id.apply(lambda identifier: self._passed(identifier, probe, asked))
        self.endpoints = {
            name: self.started.apply(partial(given.endpoint, service, port, host))
            for name, (port, host) in endpoints.items()
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
                "readiness": describe(probe),
                "data": self.data,
            },
        )
        self.register_outputs({"id": self.started, "endpoints": dict(self.endpoints)})

    def prepare(self) -> None:
        """Check and complete the arguments, in a subclass; nothing is registered yet."""

    def complete(self, **own: Any) -> None:
        """Complete the arguments by a component's own: mappings are added to those given, which must not have the same
        names; everything else is a default."""
        for name, value in own.items():
            before = getattr(self, name)
            if isinstance(value, Mapping) and isinstance(before, Mapping):
                arguments.refuse_reserved(self.name, name, before, value)
                setattr(self, name, {**before, **value})
            elif not isinstance(value, Mapping) and before in (None, ""):
                setattr(self, name, value)

    def check(self) -> None:
        """Raise for plain values that cannot work. Pure, no I/O."""
        owner = f"service {self.name!r}"
        arguments.check_image(owner, self.image)
        arguments.check_ready(owner, self.ready, self.timeout_seconds)
        arguments.check_ports(owner, self.ports)
        arguments.check_variables(owner, self.variables)
        if self.command is not None:
            arguments.check_command(f"command of {owner}", self.command)
        for name, containers in (("needs", self.needs), ("wants", self.wants)):
            declared.check_sequence(f"{name} of {owner}", containers, "a list of containers")
            for each in containers:
                declared.expect(f"one of {name} of {owner}", each, Container, "a Container, or a component")
        if self.profile is not None:
            arguments.check_name(f"profile of {owner}", self.profile)
        for name, kind, rule in (
            ("healthcheck", (HealthCheck, type(None)), "a HealthCheck"),
            ("required", (bool, type(None)), "True or False"),
            ("source", (Source, type(None)), "a Source"),
            ("writable_root_reason", str, "a text"),
            ("root_reason", str, "a text"),
            ("publish", bool, "True or False"),
        ):
            declared.expect(f"{name} of {owner}", getattr(self, name), kind, rule)
        if self.healthcheck is not None:
            self.healthcheck.check(owner)
        arguments.check_places(owner, self.volumes, self.tmpfs)
        declared.check_mapping(f"volumes of {owner}", self.volumes, (str, Volume), "a Volume, or the name of one")
        declared.check_limits(owner, memory_mb=self.memory_mb, cpus=self.cpus, pids=self.pids)
        arguments.check_capabilities(owner, self.capabilities)
        if self.run_as is not None:
            arguments.check_user(owner, self.run_as)
            if not self.root_reason.strip():
                arguments.refuse_root(owner, self.run_as)
        declared.check_whole(f"stop_grace_seconds of {owner}", self.stop_grace_seconds, 0)
        arguments.check_named(f"credentials of {owner}", self.credentials)
        arguments.check_named(f"engine_capabilities of {owner}", self.engine_capabilities)
        arguments.check_data(owner, self.data)

    def _check_in(self, environment: Environment, source: Source | None) -> None:
        """Raise for values that cannot work with this image, Docker host or mode."""
        owner = f"service {self.name!r}"
        if not self.root_reason.strip() and self.run_as is None:
            arguments.refuse_root(owner, str(environment.image_config(self.image).get("User", "unknown")))
        if self.cpus > 1:  # every host has one: no need to ask
            declared.check_cpus(owner, self.cpus, environment.cores())
        if source is not None and source.target in map(arguments.place, (*self.volumes, *self.tmpfs)):
            raise InputError(
                f"{owner} has a volume or tmpfs at {source.target}, where its source folder is mounted",
                remedy="leave it out, or give the Source another target",
            )

    def _probe(self, *, published: bool) -> Probe:
        """Return the probe: the health check's command in the container if nothing can be asked from outside."""
        service, probe, health = self.name, self.ready, self.healthcheck
        if isinstance(probe, Exec):
            return replace(probe, command=given.plain_words(service, probe.command))
        if probe is not None and (published or not probe.from_outside):
            return probe
        if health is not None:
            return Exec(given.plain_words(service, health.command))
        if probe is None:
            raise InputError(
                f"service {service!r} does not say when it is ready",
                remedy='give it ready=Http("/health"), Tcp(), Exec([…]) or ExitZero(), or a healthcheck',
            )
        protocols = {Port.of(port).protocol for port in self.ports.values()}
        # A rehearsal asks nothing, and `up` refuses it only where nothing is published.
        if self.environment.host.rehearsed and self.publish and "tcp" in protocols:
            return probe
        raise InputError(
            f"service {service!r} publishes {'nothing over TCP' if 'udp' in protocols else 'nothing'}, "
            "and its probe asks from outside",
            remedy="give it a healthcheck, whose command is then run inside, or a probe such as Exec",
        )

    def _registered(self, source: Source | None, endpoints: _Endpoints, *, finishes: bool) -> docker.Container:
        service, environment = self.name, self.environment
        image = environment.image_config(self.image)
        words = source.command if source is not None and source.command else self.command
        command, entrypoint = given.command(service, words, image)
        variables = environment.variables(service, self.variables, developed=source is not None)
        tmpfs = {arguments.place(path): options for path, options in self.tmpfs.items()}
        healthcheck = given.healthcheck(service, self.healthcheck, image, finishes=finishes)
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
                    internal=port.number, external=host[1], ip=environment.host.bind, protocol=port.protocol
                )
                for port, host in endpoints.values()
                if host is not None
            ],
            network_mode="bridge",
            networks_advanced=[docker.ContainerNetworksAdvancedArgs(name=environment.network, aliases=[service])],
            volumes=self._mounts(source),
            healthcheck=healthcheck,
            labels=[
                docker.ContainerLabelArgs(label=key, value=value)
                for key, value in {
                    **environment.labels(service, developed=source is not None),
                    **({labels.ONE_SHOT: "true"} if finishes else {}),
                    **environment.secret_label(variables),
                }.items()
            ],
            must_run=not finishes,
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
            cpus=given.cpus(self.cpus),
            log_driver="json-file",
            log_opts={"max-size": "10m", "max-file": "3"},
            destroy_grace_seconds=self.stop_grace_seconds or None,
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[_started_after(each) for each in (*self.needs, *self.wants) if environment.has(each.name)],
                # What the provider neither updates in place nor knows to need a new container (ADR 0032).
                replacement_trigger=environment.fingerprint(
                    {
                        "healthcheck": vars(healthcheck) if healthcheck is not None else {},
                        "tmpfs": tmpfs,
                        "command": bool(command),
                        "entrypoint": bool(entrypoint),
                        "user": bool(self.run_as),
                        "variables": bool(variables),
                    }
                ),
                delete_before_replace=True,  # its name and its ports can be held by one container only
                ignore_changes=["ports"] if self._publishes_the_same(endpoints) else [],
            ),
        )

    def _mounts(self, source: Source | None) -> list[docker.ContainerVolumeArgs]:
        own = pulumi.ResourceOptions(parent=self)
        mounts = []
        for path, each in self.volumes.items():
            volume = Volume(each, opts=own) if isinstance(each, str) else each
            mounts.append(docker.ContainerVolumeArgs(container_path=arguments.place(path), volume_name=volume.volume))
        if source is not None:
            folder, target = str(source.path), source.target
            mounts.append(docker.ContainerVolumeArgs(container_path=target, host_path=folder, read_only=True))
        return mounts

    async def _passed(self, identifier: str, probe: Probe, asked: tuple[str, int] | None) -> str:
        """Return the container's id when the service is ready, in a preview at once."""
        if not pulumi.runtime.is_dry_run():
            service, host, gatekeeper = self.name, self.environment.host, self.environment.gatekeeper
            finishes = probe.finishes
            with gatekeeper.in_sight(service, identifier):
                # Here, and not all at once beforehand: what it needs is ready by now.
                await beside(lambda: host.revive(identifier, self.memory_mb, finishes=finishes), f"revive {service}")
                await asyncio.gather(
                    beside(lambda: host.limit_processes(identifier, self.pids), f"limit {service}"),
                    gatekeeper.passed(service, identifier, probe, timeout_seconds=self.timeout_seconds, asked=asked),
                )
        return identifier

    def _reasons(self) -> dict[str, str]:
        return {
            "root": self.root_reason,
            "writable_root": self.writable_root_reason,
            # A setting of the user's, which opts out for the whole environment.
            "publish": self.environment.settings.publish_host,
            **{policy.capability_rule(name): reason for name, reason in self.capabilities.items()},
        }

    def _publishes_the_same(self, endpoints: _Endpoints) -> bool:
        """Return whether the existing container publishes these endpoints, several of them.

        The provider compares lists, and reads several ports in an order of Docker's, which may change at each start: it
        would find a difference, and replace the container.
        """
        host = self.environment.host
        published = [
            (f"{port.number}/{port.protocol}", host.bind, address[1])
            for port, address in endpoints.values()
            if address is not None
        ]
        return len(published) > 1 and host.publishes(self.name, published)


def _started_after(needed: Container) -> pulumi.Resource | pulumi.Output[pulumi.Resource]:
    # A preview knows no ids of what is not there yet, and has no gates to wait for.
    assert needed.resource is not None  # noqa: S101 - it is part of the environment
    resource: pulumi.Resource = needed.resource
    return resource if pulumi.runtime.is_dry_run() else needed.started.apply(lambda _: resource)
