"""The environment: one stack's network, names, labels, address and defaults, and the list of what it offers."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Collection, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_docker as docker
from docker import DockerClient
from docker.errors import ImageNotFound, NotFound
from pulumi.runtime import register_stack_transformation
from requests.exceptions import HTTPError

from ephemera.contract import labels, progress
from ephemera.contract.catalog import Manifest
from ephemera.contract.errors import InputError, UnknownNameError
from ephemera.contract.images import AnyImage, PublicImage
from ephemera.contract.labels import Identity
from ephemera.contract.settings import Settings
from ephemera.home import addresses, credentials
from ephemera.home.identity import key
from ephemera.host import engine, forwarder, limits
from ephemera.host.configured import configured
from ephemera.host.exposure import Exposure, exposure
from ephemera.host.fixed_ports import ADDRESS, port_of, refuse_held
from ephemera.host.ports import LOOPBACK, Protocol
from ephemera.resources.gates import Gatekeeper
from ephemera.resources.naming import Names
from ephemera.resources.policy import Policy
from ephemera.resources.publishing import Publisher
from ephemera.resources.secret_options import SecretOptions

if TYPE_CHECKING:
    from ephemera.resources.container import Container

_TYPE = "ephemera:index:Environment"
Published = tuple[str, str, int]
"""A container port as Docker writes it (``53/udp``), and address and port that it is published on."""
_ADDRESSES = 13  # of a /28, without its own, the bridge's and that of broadcasts
_LOG_LEVEL = "log_level"
_DEBUG = "debug"


_CURRENT: ContextVar[Environment] = ContextVar("environment")


def current() -> Environment:
    """Return the environment of the program that runs; raise :class:`InputError` outside of one."""
    try:
        return _CURRENT.get()
    except LookupError:
        raise InputError(
            "a component is made outside of a system's program",
            remedy="make it in the function that @system.program decorates",
        ) from None


class Environment(pulumi.ComponentResource):
    """One ephemeral stack: a bridge network of its own, and what all components in it share.

    Type token ``ephemera:index:Environment``. Makes one ``docker.Network``, a /28 of the configured pool, named like
    the stack and labelled. A used-up pool raises ``MachineError`` before anything is created. From then on every
    resource of the program is held to the policy: one that breaks it without a reason raises ``PolicyError``.

    ``identity``: whose it is, becomes the labels. ``manifest``: what its program declares. ``settings``: how it runs.
    ``resolve``: gives the reference of an image that is on the engine by then. ``secret_options``: names of the
    options that Pulumi's config holds as secrets.
    """

    network: pulumi.Output[str]
    """Name of the network."""
    rehearsed = False
    """Whether the program runs against mocks, to be judged by the policy alone."""

    def __init__(
        self,
        *,
        identity: Identity,
        manifest: Manifest,
        settings: Settings,
        resolve: Callable[[AnyImage], str],
        secret_options: frozenset[str] = frozenset(),
    ) -> None:
        # Pulumi hands transformations down from parent to child when the child is made: those of the stack, below, come
        # too late for what is made beneath the environment.
        beneath = pulumi.ResourceOptions(transformations=[self._transformed])
        super().__init__(_TYPE, identity.stack, None, beneath)
        _CURRENT.set(self)
        self.identity = identity
        self.settings = settings
        self._manifest = manifest
        self._selected = frozenset(self._select())
        self._references: dict[AnyImage, str] = {}
        self._resolve = resolve
        self._images: dict[str, Any] = {}
        self._image_configs: dict[str, Mapping[str, Any]] = {}
        self._secrets: set[str] = set()
        self._services: dict[str, pulumi.Input[Any]] = {}
        self._told: set[str] = set()
        self._claimed: set[tuple[str, str]] = set()
        self._addresses = 0
        self.policy = Policy(manifest.exceptions)
        """What it is held to."""
        self._client = self._connected()
        self.names = self._named()
        """Names on the engine that its resources take."""
        self._failure: BaseException | None = None
        self._secret_options = SecretOptions(settings.options[name] for name in sorted(secret_options))
        register_stack_transformation(self._transformed)
        self._address = self._allocated()
        self._exposure = self._exposed()
        self.expose = self._exposure.mode
        self._before = self._there()
        self._publisher = self._published()
        if not pulumi.runtime.is_dry_run():
            self.gatekeeper = Gatekeeper(self._client, identity.stack, self._known_secrets)
        network = docker.Network(
            "network",
            name=identity.stack,
            driver="bridge",
            ipam_configs=[docker.NetworkIpamConfigArgs(subnet=self._address.subnet)],
            labels=[docker.NetworkLabelArgs(label=key, value=value) for key, value in self.labels().items()],
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.network = network.name
        if self._exposure.forwarded and self.expose != "none" and not pulumi.runtime.is_dry_run():
            network.name.apply(lambda _: forwarder.hold(configured().url, self.stack, self.identity.backend))
        self.register_outputs(
            {"network": self.network, "address": self._address.address, "docker": self._engine_identity()}
        )

    @property
    def stack(self) -> str:
        """Name of the stack."""
        return self.identity.stack

    def labels(self, service: str | None = None, *, developed: bool = False) -> dict[str, str]:
        """Labels of an object of this environment; a container's name its service too, and that source is mounted."""
        named = {labels.SERVICE: service} if service else {}
        return {**self.identity.labels(), **named, **({labels.DEVELOPMENT: "true"} if developed else {})}

    def option(self, name: str) -> str | bool | int:
        """The value of an option that the system declares; of ``log_level``, ``debug`` for its default in development
        mode. A secret one is a plain value, too: what contains it is encrypted in Pulumi's state."""
        if name not in self.settings.options:
            raise UnknownNameError("option", name, self.settings.options)
        value = self.settings.options[name]
        raised = self.settings.development and name == _LOG_LEVEL and isinstance(value, str)
        return _DEBUG if raised and value == self._manifest.options[name].default else value

    def development_variables(self) -> Mapping[str, str]:
        """Variables that a service with a mounted source gets: ``LOG_LEVEL``, where the system has no option for it."""
        return {"LOG_LEVEL": _DEBUG} if _LOG_LEVEL not in self.settings.options else {}

    def credential(self, service: str, purpose: str) -> pulumi.Output[str]:
        """A generated credential, marked secret: the same on every run, different in every stack."""
        value = credentials.credential(self.stack, service, purpose)
        self._secrets.add(value)
        return pulumi.Output.secret(value)

    def hide(self, secret: pulumi.Input[Any]) -> None:
        """Keep it out of what is said of services that fail, as soon as it is known."""
        pulumi.Output.from_input(secret).apply(lambda known: self._secrets.add(str(known)))

    def image_id(self, image: AnyImage | str) -> pulumi.Output[str]:
        """Id of an image; the resource is registered once per reference."""
        from ephemera.resources.image import Image

        reference = self._reference(image)
        if reference not in self._images:
            name = reference.rsplit("/", 1)[-1].replace(":", "-")
            if ("image", name) in self._claimed:  # of another registry, or another person's
                name = reference.replace("/", "-").replace(":", "-")
            self.claim("image", name)
            self._images[reference] = Image(name, reference=reference, opts=pulumi.ResourceOptions(parent=self))
        return self._images[reference].id  # type: ignore[no-any-return]

    def image_config(self, image: AnyImage | str) -> Mapping[str, Any]:
        """Return the image's configuration as the engine has it; empty in a preview for one not on the machine yet."""
        reference = self._reference(image)
        if reference not in self._image_configs:
            try:
                self._image_configs[reference] = self._client.api.inspect_image(reference)["Config"] or {}
            except ImageNotFound:
                self._image_configs[reference] = {}
        return self._image_configs[reference]

    def image_user(self, image: AnyImage | str) -> str:
        """Return the user that an image runs as; ``unknown`` in a preview for one not on the machine yet."""
        return str(self.image_config(image).get("User", "unknown"))

    def image_lacks(self, image: AnyImage | str) -> tuple[str, ...]:
        """Return what the official image's engine has and this one has not, as a local recipe's image says itself."""
        marks = self.image_config(image).get("Labels") or {}
        return tuple(str(marks.get(labels.LACKS, "")).split())

    def variables_now(self, service: str) -> Mapping[str, str]:
        """Return the variables of the service's container as an earlier run made it; empty when there is none."""
        try:
            config = self._client.api.inspect_container(f"{self.stack}-{service}")["Config"]
        except NotFound:
            return {}
        return dict(each.split("=", 1) for each in config["Env"] or () if "=" in each)

    def cores(self) -> int:
        """Return the CPUs of the Docker host; Docker refuses larger limits."""
        return int(self._client.info().get("NCPU", 1))

    def revive(self, container: str, *, finishes: bool) -> None:
        """Have a container that was there before this run go on, should it have stopped since, or be paused. What is
        there to end (``finishes``) and has ended well has done what it is for."""
        if container not in {item["Id"] for item in self._before}:
            return
        state = self._client.api.inspect_container(container)["State"]
        if state["Status"] == "paused":
            self._client.api.unpause(container)
        elif not state["Running"] and not (finishes and state["Status"] == "exited" and state["ExitCode"] == 0):
            self._client.api.start(container)

    def limit_memory(self, container: str, memory_mb: int) -> None:
        """Set the memory limit of a container that was there before this run, should it have another one.

        The provider updates it in place, and Pulumi takes an update that the engine has refused for done: its state has
        the new limit, and the container the old one. What the engine refuses once more is raised.
        """
        if container not in {item["Id"] for item in self._before}:
            return
        limit = memory_mb * 1024 * 1024
        current = self._client.api.inspect_container(container)["HostConfig"].get("Memory")
        if current and current != limit:  # 0 where the engine ignores limits
            self._client.api.update_container(container, mem_limit=limit, memswap_limit=limit)

    def limit_processes(self, container: str, pids: int) -> None:
        """Set the container's limit of processes and threads, which the provider has no property for.

        An engine without cgroups has none of the limits: that is said once, and the container runs without. One that
        has ended already has nothing left to limit.
        """
        answer = self._client.api.post(
            f"{self._client.api.base_url}/containers/{container}/update", json={"PidsLimit": pids}
        )
        try:
            answer.raise_for_status()
        except HTTPError:
            if not self._client.api.inspect_container(container)["State"]["Running"]:
                return
            without = limits.ignored(self._client.info())
            if "processes" not in without:
                raise
            self._tell_once(f"this engine has no cgroups: it ignores limits of {', '.join(without)}")

    def host_address(
        self, service: str, endpoint: str, number: int, protocol: Protocol = "tcp"
    ) -> tuple[str, int] | None:
        """Where container port ``number`` of ``service`` is published: host address and port; None where nothing is.

        Each endpoint has a port of its own, also when several have one container port: the first has the standard one.
        Raises :class:`PortInUseError` when a fixed port is held by somebody else.
        """
        if self.expose == "none":
            return None
        if protocol == "udp" and self._exposure.forwarded:
            told = "SSH forwards TCP alone, so this endpoint is only reached from inside the environment"
            self._tell_once(f"{service}.{endpoint}: {told}")
            return None
        if self.expose == "fixed":
            return self._fixed(service, f"{service}.{endpoint}", protocol)
        port = self._picked(service, endpoint, number, protocol)
        return (self._address.address if self.expose == "loopback" else self._exposure.host), port

    def publishes(self, service: str, wanted: Collection[Published]) -> bool:
        """Whether the service's container is there and publishes just that, in whichever order Docker tells it."""
        found = next((item for item in self._before if item["Labels"].get(labels.SERVICE) == service), None)
        if found is None:
            return False
        try:
            bound = self._client.api.inspect_container(found["Id"])["HostConfig"]["PortBindings"] or {}
        except NotFound:
            return False
        return set(wanted) == {
            (container_port, each["HostIp"], int(each["HostPort"] or 0))
            for container_port, bindings in bound.items()
            for each in bindings or ()
        }

    def fingerprint(self, value: Any) -> pulumi.Output[str]:
        """Return a text that is another one when ``value`` is, and tells nothing of the secrets in it: keyed with the
        user's key. Pulumi loses a secret in a replacement trigger, and would find a difference at every ``up``."""
        text = pulumi.Output.unsecret(pulumi.Output.json_dumps(value, sort_keys=True))
        return text.apply(lambda known: hmac.new(key(), known.encode(), hashlib.sha256).hexdigest())

    def has(self, service: str) -> bool:
        """Return whether the service is part of this environment: ``--only`` and profiles may leave it out."""
        return service in self._selected or service not in self._manifest.services

    def present(self, service: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        """Return the variables without those that hold outputs of services which are not part of this environment."""
        declared = self._manifest.services.get(service)
        uses = declared.uses if declared is not None else {}
        return {name: value for name, value in variables.items() if all(self.has(each) for each in uses.get(name, ()))}

    def declare(self, container: Container) -> None:
        """Note that the program declares the service; raise when it has declared it before."""
        self.claim("service", container.name)

    def claim(self, kind: str, name: str) -> None:
        """Note that the program makes the ``service`` or ``volume`` of that name; raise when it has made one before."""
        if (kind, name) in self._claimed:
            raise InputError(f"{kind} {name!r} is made twice", remedy="give each a name of its own")
        self._claimed.add((kind, name))

    def marked(self, value: Any) -> Any:
        """Return ``value`` with every part that contains a secret option marked secret. Inputs of resources are marked
        anyway: this is for whatever asks whether they are."""
        return self._secret_options.marked(value)

    def give_address(self, service: str) -> None:
        """Count a container that keeps an address of the network; raise when there is none left for it."""
        if self._addresses == _ADDRESSES:
            raise InputError(
                f"service {service!r} is one container too many: an environment's network has {_ADDRESSES} addresses",
                remedy="leave some out, with profiles say, or make two systems of it",
            )
        self._addresses += 1

    def offer(self, service: str, outputs: pulumi.Input[Any]) -> None:
        """List a service's outputs (a ``ServiceOutputs`` as plain values) in the environment's document."""
        self._services[service] = outputs

    def document(self) -> dict[str, Any]:
        """The outputs document, to be exported under ``environment``."""
        return {
            "schema_version": 1,
            "stack": self.stack,
            "system": self.identity.system,
            "branch": self.identity.branch,
            "services": self.marked(self._services),
        }

    def bind_address(self) -> str:
        """Address of the engine's machine that ports are bound to."""
        return self._address.address if self.expose == "loopback" else self._exposure.bind

    def refuse(self, failure: BaseException) -> None:
        """Have nothing created of what the program has declared: it failed, or may not be carried out."""
        self._failure = failure

    def _transformed(self, args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult | None:
        """Judge a resource that is to be registered; have it wait for the whole program, and its secrets marked."""
        if args.type_ == _TYPE:
            return None
        self.policy.judge(args)
        result = self._after_all_is_declared(args)
        return pulumi.ResourceTransformationResult(self._secret_options.marked(result.props), result.opts)

    def _after_all_is_declared(self, args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult:
        """Let a resource be registered only when the whole program has been run and has not been refused.

        Pulumi registers what was declared before an error, too: half an environment would be made of bad input.
        """
        self.names.want(args.type_, args.props, args.opts)
        needed = args.opts.depends_on if args.opts.depends_on is not None else []

        async def declared() -> Any:  # begins to run when the program has ended: one event loop runs both
            if self._failure is not None:
                raise self._failure
            return needed

        options = pulumi.ResourceOptions.merge(args.opts, None)
        options.depends_on = pulumi.Output.from_input(declared())
        return pulumi.ResourceTransformationResult(args.props, options)

    def _select(self) -> Collection[str]:
        return self._manifest.selected(only=self.settings.only, profiles=self.settings.profiles)

    def _reference(self, named: AnyImage | str) -> str:
        image = PublicImage(reference=named) if isinstance(named, str) else named
        if image not in self._references:
            self._references[image] = self._resolve(image)
        return self._references[image]

    def _known_secrets(self) -> tuple[str, ...]:
        return (*self._secrets, *self._secret_options.texts)

    def _connected(self) -> DockerClient:
        return engine.connect()

    def _named(self) -> Names:
        return Names(self._client, self.identity)

    def _engine_identity(self) -> str:
        return engine.identity(self._client)

    def _tell_once(self, message: str) -> None:
        if message not in self._told:
            self._told.add(message)
            progress.emit({"type": "notice", "message": message})

    def _exposed(self) -> Exposure:
        return exposure(self.settings, configured(), self._client)

    def _allocated(self) -> addresses.Allocation:
        live: str | None = None
        occupied: list[str] = []
        for network in self._client.api.networks():
            subnets = [config["Subnet"] for config in (network["IPAM"]["Config"] or ()) if "Subnet" in config]
            marks = network["Labels"] or {}
            ours = marks.get(labels.STACK) == self.stack and marks.get(labels.BACKEND) == self.identity.backend
            if ours and subnets:
                live = subnets[0]
            else:
                occupied.extend(subnets)
        return addresses.allocate(
            self.stack,
            pool=self.settings.subnet_pool,
            occupied=occupied,
            live_subnet=live,
            record=not pulumi.runtime.is_dry_run(),
        )

    def _there(self) -> list[Mapping[str, Any]]:
        """The stack's containers that were there before this run."""
        marks = [f"{labels.STACK}={self.stack}", f"{labels.BACKEND}={self.identity.backend}"]
        found: list[Mapping[str, Any]] = self._client.api.containers(all=True, filters={"label": marks})
        return found

    def _published(self) -> Publisher:
        own = self.expose == "loopback"
        return Publisher(
            stack=self.stack,
            # What this machine holds says nothing of the one whose address is published on.
            address=self._address.address if own else LOOPBACK if self._exposure.bind == LOOPBACK else None,
            own=own,
            low_ports=self._exposure.low_ports,
            bind=self.bind_address(),
            live=self._before,
            record=not pulumi.runtime.is_dry_run(),
        )

    def _picked(self, service: str, endpoint: str, number: int, protocol: Protocol) -> int:
        return self._publisher.port(service, endpoint, number, protocol)

    def _fixed(self, service: str, endpoint: str, protocol: Protocol) -> tuple[str, int] | None:
        port = port_of(self._manifest.fixed_ports[self.settings.port_table], endpoint, protocol)
        if port is None:
            return None
        return self._free_fixed(service, port, protocol)

    def _free_fixed(self, service: str, port: int, protocol: Protocol) -> tuple[str, int]:
        refuse_held(self._client, self.stack, service, port, protocol)
        return ADDRESS, port
