"""The environment: one stack's network, volumes, and what its components share: names, images, secrets, outputs."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any

import pulumi
import pulumi_docker as docker
from pulumi.runtime import register_stack_transformation

from ephemera.model import labels
from ephemera.model.catalog import Manifest
from ephemera.model.errors import InputError, UnknownNameError
from ephemera.model.images import AnyImage, PublicImage
from ephemera.model.labels import Identity
from ephemera.model.settings import Settings
from ephemera.resources.arguments import check_volume_name
from ephemera.resources.docker_host import DockerHost
from ephemera.resources.gates import Gatekeeper
from ephemera.resources.naming import Names
from ephemera.resources.policy import Policy
from ephemera.resources.secret_options import SecretOptions

_TYPE = "ephemera:index:Environment"
_ADDRESSES = 13  # of a /28, without those of the network, the bridge and broadcasts
_LOG_LEVEL = "log_level"
_DEBUG = "debug"

_CURRENT: ContextVar[Environment] = ContextVar("environment")


def current() -> Environment:
    """Return the environment of the running program; raise :class:`InputError` outside of one."""
    try:
        return _CURRENT.get()
    except LookupError:
        raise InputError(
            "a component is made outside of a system's program",
            remedy="make it in the function that @system.program decorates",
        ) from None


class Environment(pulumi.ComponentResource):
    """One ephemeral stack: a bridge network of its own, and what all its components share.

    Type token ``ephemera:index:Environment``. Makes one ``docker.Network``, labelled and named like the stack, with a
    /28 subnet of the configured pool. Holds every resource of the program to the policy: one that breaks it without a
    reason raises ``PolicyError``. Raises ``MachineError`` if the pool is used up, before anything is created.

    ``identity``: becomes the labels. ``manifest``: what the program declares. ``settings``: how it runs.
    ``resolve``: returns the reference of an image, which is on the Docker host by then. ``secret_options``: names of
    the options that Pulumi's config holds as secrets. ``host``: the Docker host, by default the one in use.
    """

    network: pulumi.Output[str]
    """Name of the network."""

    def __init__(
        self,
        *,
        identity: Identity,
        manifest: Manifest,
        settings: Settings,
        resolve: Callable[[AnyImage], str],
        secret_options: frozenset[str] = frozenset(),
        host: DockerHost | None = None,
    ) -> None:
        # Pulumi hands transformations down from parent to child when the child is made: those of the stack, below, come
        # too late for what is made beneath the environment.
        beneath = pulumi.ResourceOptions(transformations=[self._transformed])
        super().__init__(_TYPE, identity.stack, None, beneath)
        _CURRENT.set(self)
        self.identity = identity
        self.stack = identity.stack
        """Name of the stack."""
        self.settings = settings
        self.host = host or DockerHost(identity, settings, manifest.fixed_ports)
        """The Docker host."""
        self.expose = self.host.expose
        """How ports are published: ``loopback``, ``dynamic``, ``fixed`` or ``none``."""
        self.policy = Policy(manifest.exceptions)
        self.names = Names(self.host.client, identity)
        """Names that its resources take on the Docker host."""
        self.components: dict[str, pulumi.Resource] = {}
        """Declared services by name, also those that are not part of this environment."""
        self._manifest = manifest
        self._selected = frozenset(manifest.selected(only=settings.only, profiles=settings.profiles))
        self._resolve = resolve
        self._references: dict[AnyImage, str] = {}
        self._images: dict[str, docker.RemoteImage] = {}
        self._secrets: set[str] = set()
        self._outputs: dict[str, pulumi.Input[Any]] = {}
        self._claimed: set[tuple[str, str]] = set()
        self._addresses = 0
        self._failure: BaseException | None = None
        self._secret_options = SecretOptions(settings.options[name] for name in sorted(secret_options))
        register_stack_transformation(self._transformed)
        network = docker.Network(
            "network",
            name=self.stack,
            driver="bridge",
            ipam_configs=[docker.NetworkIpamConfigArgs(subnet=self.host.network.subnet)],
            labels=[docker.NetworkLabelArgs(label=key, value=value) for key, value in self.labels().items()],
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.network = network.name
        if not pulumi.runtime.is_dry_run():
            self.gatekeeper = Gatekeeper(self.host.client, self.stack, self._known_secrets)
            network.name.apply(lambda _: self.host.forward_ports())
        self.register_outputs(
            {"network": self.network, "address": self.host.network.address, "docker": self.host.engine_id()}
        )

    def labels(self, service: str | None = None, *, developed: bool = False) -> dict[str, str]:
        """Return the labels of an object of this environment; of a container with its service, and ``developed`` if its
        source folder is mounted."""
        named = {labels.SERVICE: service} if service else {}
        return {**self.identity.labels(), **named, **({labels.DEVELOPMENT: "true"} if developed else {})}

    def option(self, name: str) -> str | bool | int:
        """Return the value of an option of the system; raise :class:`UnknownNameError` for any other name.

        In development mode ``log_level`` is ``debug`` unless it was set. A secret option is a plain value too: whatever
        contains it is encrypted in Pulumi's state.
        """
        if name not in self.settings.options:
            raise UnknownNameError("option", name, self.settings.options)
        value = self.settings.options[name]
        raised = self.settings.development and name == _LOG_LEVEL and isinstance(value, str)
        return _DEBUG if raised and value == self._manifest.options[name].default else value

    def credential(self, service: str, purpose: str) -> pulumi.Output[str]:
        """Return a generated credential as a secret: 32 characters, safe in a URL, the same on every run and different
        in every stack."""
        value = self.host.credential(service, purpose)
        self._secrets.add(value)
        return pulumi.Output.secret(value)

    def cores(self) -> int:
        """Return the CPUs of the Docker host; Docker rejects larger limits."""
        return self.host.cores()

    def hide(self, secret: pulumi.Input[Any]) -> None:
        """Redact a value from log lines of failed services as soon as it is known."""
        pulumi.Output.from_input(secret).apply(lambda known: self._secrets.add(str(known)))

    def secret_label(self, variables: Mapping[str, pulumi.Input[Any]]) -> dict[str, pulumi.Input[str]]:
        """Return the label that names the secret variables, by which their values are redacted from the container's
        logs (ADR 0037); none if no variable is an output."""
        outputs = {name: value for name, value in variables.items() if isinstance(value, pulumi.Output)}

        async def names() -> str:
            secret = [name for name, value in sorted(outputs.items()) if await value.is_secret()]
            for name in secret:
                self.hide(outputs[name])
            return json.dumps(secret)

        return {labels.SECRETS: pulumi.Output.from_input(names())} if outputs else {}

    def image_id(self, image: AnyImage | str) -> pulumi.Output[str]:
        """Return the id of an image, ``sha256:…``; containers get no tag, which would replace them at every ``up``.

        Makes one ``docker.RemoteImage`` per reference, which destroy leaves on the Docker host.
        """
        reference = self._reference(image)
        if reference not in self._images:
            name = reference.rsplit("/", 1)[-1].replace(":", "-")
            if ("image", name) in self._claimed:  # the same name in another registry
                name = reference.replace("/", "-").replace(":", "-")
            self.claim("image", name)
            self._images[reference] = docker.RemoteImage(
                name, name=reference, keep_locally=True, opts=pulumi.ResourceOptions(parent=self)
            )
        return self._images[reference].image_id  # type: ignore[no-any-return]

    def image_config(self, image: AnyImage | str) -> Mapping[str, Any]:
        """Return the image's configuration; empty if the image is missing, which only a preview meets."""
        return self.host.image_config(self._reference(image))

    def fingerprint(self, value: Any) -> pulumi.Output[str]:
        """Return a text that changes with ``value`` and reveals no secret in it: keyed with the user's key.

        Pulumi loses a secret in a replacement trigger, and would find a difference at every ``up``.
        """
        text = pulumi.Output.unsecret(pulumi.Output.json_dumps(value, sort_keys=True))
        return text.apply(lambda known: hmac.new(self.host.key(), known.encode(), hashlib.sha256).hexdigest())

    def has(self, service: str) -> bool:
        """Return whether the service is part of this environment: ``--only`` and profiles may leave it out."""
        return service in self._selected or service not in self._manifest.services

    def variables(self, service: str, given: Mapping[str, Any], *, developed: bool) -> dict[str, Any]:
        """Return the variables of a service's container, of those ``given``; parts with secret options are secrets.

        Variables that hold outputs of services which are not part of this environment are left out. ``developed``: its
        source folder is mounted, so ``LOG_LEVEL`` is ``debug``, unless the system has an option for it.
        """
        declared = self._manifest.services.get(service)
        uses = declared.uses if declared is not None else {}
        present = {name: value for name, value in given.items() if all(self.has(each) for each in uses.get(name, ()))}
        if developed and _LOG_LEVEL not in self.settings.options:
            present[_LOG_LEVEL.upper()] = _DEBUG
        return {name: self._secret_options.marked(value) for name, value in present.items()}

    def declare(self, service: str, component: pulumi.Resource) -> None:
        """Record that the program declares a service; raise if it has declared it before."""
        self.claim("service", service)
        self.components[service] = component

    def claim(self, kind: str, name: str) -> None:
        """Record that the program makes the ``service`` or ``volume`` of that name; raise if it has made one before."""
        if (kind, name) in self._claimed:
            raise InputError(f"{kind} {name!r} is made twice", remedy="give each a name of its own")
        self._claimed.add((kind, name))

    def take_address(self, service: str) -> None:
        """Count a container that keeps an address of the network; raise if none is left."""
        if self._addresses == _ADDRESSES:
            raise InputError(
                f"service {service!r} is one container too many: an environment's network has {_ADDRESSES} addresses",
                remedy="leave some out, by profiles for example, or split the system in two",
            )
        self._addresses += 1

    def offer(self, service: str, outputs: pulumi.Input[Any]) -> None:
        """Add a service's outputs (a ``ServiceOutputs`` as plain values) to the environment's document."""
        self._outputs[service] = outputs

    def document(self) -> dict[str, Any]:
        """Return the outputs document, to be exported under ``environment``."""
        return {
            "schema_version": 1,
            "stack": self.stack,
            "system": self.identity.system,
            "branch": self.identity.branch,
            "services": self._secret_options.marked(self._outputs),
        }

    def refuse(self, failure: BaseException) -> None:
        """Create nothing of what the program has declared: it failed with ``failure``."""
        self._failure = failure

    def _transformed(self, args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult | None:
        """Judge a resource before it is registered, mark its secrets, and delay it until the whole program has run.

        Pulumi registers what was declared before an error, too: half an environment would be made of bad input.
        """
        if args.type_ == _TYPE:
            return None
        self.policy.judge(args)
        self.names.want(args.type_, args.props, args.opts)
        needed = args.opts.depends_on if args.opts.depends_on is not None else []

        async def declared() -> Any:  # begins to run when the program has ended: one event loop runs both
            if self._failure is not None:
                raise self._failure
            return needed

        options = pulumi.ResourceOptions.merge(args.opts, None)
        options.depends_on = pulumi.Output.from_input(declared())
        return pulumi.ResourceTransformationResult(self._secret_options.marked(args.props), options)

    def _reference(self, named: AnyImage | str) -> str:
        image = PublicImage(reference=named) if isinstance(named, str) else named
        if image not in self._references:
            self._references[image] = self._resolve(image)
        return self._references[image]

    def _known_secrets(self) -> tuple[str, ...]:
        return (*self._secrets, *self._secret_options.texts)


class Volume(pulumi.ComponentResource):
    """A volume named ``<stack>-<name>``, removed with the stack.

    Type token ``ephemera:index:Volume``. Makes one ``docker.Volume``. ``name``: 1 to 100 letters, digits, ``_``, ``.``
    and ``-``, beginning with a letter or digit; any other, or one that is taken, raises ``InputError`` before anything
    is created. ``opts``: of Pulumi; the parent is the environment unless given.
    """

    volume: pulumi.Output[str]
    """Name of the volume on the Docker host."""

    def __init__(self, name: str, *, opts: pulumi.ResourceOptions | None = None) -> None:
        check_volume_name("the environment", name)
        environment = current()
        environment.claim("volume", name)
        parent = pulumi.ResourceOptions(parent=environment)
        super().__init__("ephemera:index:Volume", name, None, pulumi.ResourceOptions.merge(parent, opts))
        volume = docker.Volume(
            name,
            name=f"{environment.stack}-{name}",
            labels=[docker.VolumeLabelArgs(label=key, value=value) for key, value in environment.labels().items()],
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.volume = volume.name
        self.register_outputs({"volume": self.volume})
