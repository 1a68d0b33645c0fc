"""A rehearsal: a system's program run to its end against Pulumi's mocks, without Docker, files or network.

It yields the system's :class:`~ephemera.model.catalog.Manifest`. Dependencies between services are read from the
resources that each output depends on, as Pulumi itself does.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pulumi
from pulumi.runtime import mocks, set_all_config, set_mocks
from pulumi.runtime.settings import SETTINGS
from pulumi.runtime.stack import run_pulumi_func

from ephemera.docker.fixed_ports import ADDRESS, port_of
from ephemera.docker.ports import LOOPBACK, Protocol
from ephemera.home.addresses import Allocation
from ephemera.model import declared
from ephemera.model.catalog import Manifest, Service
from ephemera.model.errors import InputError
from ephemera.model.images import AnyImage
from ephemera.model.labels import Identity
from ephemera.model.settings import Expose, Settings
from ephemera.model.system import System
from ephemera.resources.container import Container
from ephemera.resources.docker_host import DockerHost
from ephemera.resources.environment import Environment

_STACK = "rehearsal"
_IDENTITY = Identity(project=_STACK, stack=_STACK, system=_STACK, branch=_STACK, owner=_STACK, backend="000000000000")
_ALLOCATION = Allocation(number=0, subnet="10.213.0.0/28", address="127.83.1.1")
_CORES = 1024  # more than any host has: on which one the system will run is not known
_WAYS: tuple[Expose, ...] = ("loopback", "dynamic", "none")


def manifest_of(system: System, *, config: Mapping[str, str] | None = None) -> Manifest:
    """Return what the system's program declares with its options at their defaults; raise what it raises.

    ``config``: what the program reads from Pulumi's, full key → text.
    """
    plain = Manifest(
        suite=system.suite,
        services={},
        description=system.description,
        options=system.options,
        fixed_ports=system.fixed_ports,
        exceptions=system.exceptions,
        seed=system.seed,
    )
    services, images = _rehearse(system, plain, _settings(plain, expose="loopback"), config or {})
    if system.runner is not None:
        if system.runner.name in services:
            raise InputError(
                f"service {system.runner.name!r} has the name of the runner",
                remedy='rename the service, or the runner: Runner(name="…")',
            )
        services[system.runner.name] = Service(profile=system.runner.profile, required=False, runner=system.runner)
    declared.check_tables(system.fixed_ports, services)
    return replace(plain, services=services, images=tuple(images))


def check_policy(system: System, *, config: Mapping[str, str] | None = None) -> None:
    """Hold a system's program to the policy, for each of its profiles and each way to publish; for a test.

    Needs no Docker and creates nothing. Raises :class:`~ephemera.model.errors.PolicyError` for the first resource
    that breaks a rule without a reason, and whatever the program raises. Options have their defaults; ``config``: what
    else the program reads from Pulumi's, full key → text.
    """
    manifest = manifest_of(system, config=config)
    for settings in variations(manifest):
        _rehearse(system, manifest, settings, config or {})


def variations(manifest: Manifest) -> Iterator[Settings]:
    """Yield settings to rehearse a system with: no profile, each, all; every way to publish, every table of fixed
    ports; development mode if a service has a source."""
    groups = dict.fromkeys([(), *((profile,) for profile in manifest.profiles), manifest.profiles])
    for profiles in groups:
        for way in _WAYS:
            yield _settings(manifest, profiles=profiles, expose=way)
        for table in manifest.fixed_ports:
            yield _settings(manifest, profiles=profiles, expose="fixed", port_table=table)
    if any(service.source for service in manifest.services.values()):
        yield _settings(manifest, profiles=manifest.profiles, expose="loopback", development=True)


class _NoHost(DockerHost):
    """Stands for a Docker host: nothing is asked, everything is free."""

    rehearsed = True

    def __init__(self, settings: Settings, fixed_ports: Mapping[str, Mapping[str, int]]) -> None:
        self.client = None
        self.network = _ALLOCATION
        assert settings.expose != "auto"  # noqa: S101 - see variations
        self.expose = settings.expose
        self.bind = _ALLOCATION.address if settings.expose == "loopback" else LOOPBACK
        self._fixed_ports = fixed_ports.get(settings.port_table, {})

    def engine_id(self) -> str:
        return ""

    def key(self) -> bytes:
        return b""

    def credential(self, service: str, purpose: str) -> str:
        return f"{service}-{purpose}"

    def image_config(self, reference: str) -> Mapping[str, Any]:  # noqa: ARG002
        return {}

    def existing_variables(self, service: str) -> Mapping[str, str]:  # noqa: ARG002
        return {}

    def cores(self) -> int:
        return _CORES

    def address(self, service: str, endpoint: str, number: int, protocol: Protocol = "tcp") -> tuple[str, int] | None:
        if self.expose == "fixed":
            port = port_of(self._fixed_ports, f"{service}.{endpoint}", protocol)
            return None if port is None else (ADDRESS, port)
        return None if self.expose == "none" else (self.bind, number)

    def publishes(self, *_: Any) -> bool:
        return False


class _Mocks(mocks.Mocks):
    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        return f"{args.name}-id", dict(args.inputs)

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]] | None]:  # noqa: ARG002
        return {}, None


def _settings(manifest: Manifest, **given: Any) -> Settings:
    options = {name: option.default for name, option in manifest.options.items()}
    return Settings(system=_STACK, branch=_STACK, options=options, **given)


def _rehearse(
    system: System, manifest: Manifest, settings: Settings, config: Mapping[str, str]
) -> tuple[dict[str, Service], list[AnyImage]]:
    """Run the program as a preview does, with the services of ``manifest`` that ``settings`` select, or all if it has
    none; return services and images in the order of declaration. Raise what the program raises."""
    images: dict[AnyImage, str] = {}

    async def main() -> dict[str, Service]:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(executor)
        # A program that fails leaves tasks which nothing awaits; its error is raised anyway.
        loop.set_exception_handler(lambda *_: None)
        # Mocks share the set of outputs that are waited for with the program before, also with one that failed.
        SETTINGS.outputs = set()
        set_mocks(_Mocks(), project=_STACK, stack=_STACK, preview=True)
        set_all_config(dict(config))
        made: list[Environment] = []

        def program() -> None:
            environment = Environment(
                identity=_IDENTITY,
                manifest=manifest,
                settings=settings,
                resolve=lambda image: images.setdefault(image, f"rehearsal/image-{len(images)}:1"),
                host=_NoHost(settings, manifest.fixed_ports),
            )
            made.append(environment)
            system.declare(environment)

        await run_pulumi_func(program)
        return await _services([each for each in made[0].components.values() if isinstance(each, Container)])

    # The mock monitor makes an event loop in every thread that it finds without one, and leaves it open.
    loops: list[asyncio.AbstractEventLoop] = []

    def give_loop() -> None:
        loops.append(asyncio.new_event_loop())
        asyncio.set_event_loop(loops[-1])

    # The program runs in a thread of its own, since the caller's may have an event loop running; and in a context of
    # its own, since Pulumi keeps its settings there, and waits for all outputs that it finds in them.
    with ThreadPoolExecutor(1) as runner, ThreadPoolExecutor(4, initializer=give_loop) as executor:
        try:
            return runner.submit(contextvars.Context().run, asyncio.run, main()).result(), list(images)
        finally:
            executor.shutdown()
            for loop in loops:
                loop.close()


async def _services(containers: list[Container]) -> dict[str, Service]:
    """Return the services by name, each with what it requires."""
    made_by = {id(each.resource): each.name for each in containers if each.resource is not None}
    services = {}
    for container in containers:
        uses = {name: await _used(value, made_by) for name, value in container.variables.items()}
        in_command = [each for word in container.command or () for each in await _used(word, made_by)]
        wants = tuple(each.name for each in container.wants)
        requires = [*(each.name for each in container.needs), *(each for found in uses.values() for each in found)]
        services[container.name] = Service(
            requires=tuple(
                each for each in dict.fromkeys([*requires, *in_command]) if each not in (*wants, container.name)
            ),
            wants=wants,
            uses={name: found for name, found in uses.items() if found},
            profile=container.profile,
            required=container.profile is None if container.required is None else container.required,
            source=container.source,
        )
    return services


async def _used(value: Any, made_by: Mapping[int, str]) -> tuple[str, ...]:
    """Return the services whose outputs ``value`` is made from."""
    if not isinstance(value, pulumi.Output):
        return ()
    return tuple(sorted({made_by[id(each)] for each in await value.resources() if id(each) in made_by}))
