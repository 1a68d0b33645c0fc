"""A rehearsal: a system's program run to its end against Pulumi's mocks, without Docker, files or network.

What it declares is the system's :class:`~ephemera.contract.catalog.Manifest`; what depends on what is read from the
resources that each of its outputs depends on, as Pulumi itself does.
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

from ephemera.contract import declared
from ephemera.contract.catalog import Manifest, Service
from ephemera.contract.errors import InputError
from ephemera.contract.images import AnyImage
from ephemera.contract.labels import Identity
from ephemera.contract.settings import Expose, Settings
from ephemera.contract.system import System
from ephemera.home.addresses import Allocation
from ephemera.host.exposure import Exposure
from ephemera.host.fixed_ports import ADDRESS
from ephemera.host.ports import Protocol
from ephemera.resources.container import Container
from ephemera.resources.environment import Environment

_STACK = "rehearsal"
_ALLOCATION = Allocation(number=0, subnet="10.213.0.0/28", address="127.83.1.1")
_CORES = 1024  # that of no host: which one the system is to run on is not known here
_WAYS: tuple[Expose, ...] = ("loopback", "dynamic", "none")


def manifest_of(system: System, *, config: Mapping[str, str] | None = None) -> Manifest:
    """Return what the system's program declares, with its options at their defaults; raise what it raises.

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
    services, images = rehearse(system, plain, _settings(plain, expose="loopback"), config or {})
    if system.runner is not None:
        if system.runner.name in services:
            raise InputError(
                f"service {system.runner.name!r} has the name of the runner", remedy='Runner(name="…") gives it another'
            )
        services[system.runner.name] = Service(profile=system.runner.profile, required=False, runner=system.runner)
    declared.check_tables(system.fixed_ports, services)
    return replace(plain, services=services, images=tuple(images))


def variations(manifest: Manifest) -> Iterator[Settings]:
    """Settings to rehearse a system with: no profile, each, all; every way to publish, every table of fixed ports;
    development mode, where it has one."""
    groups = dict.fromkeys([(), *((profile,) for profile in manifest.profiles), manifest.profiles])
    for profiles in groups:
        for way in _WAYS:
            yield _settings(manifest, profiles=profiles, expose=way)
        for table in manifest.fixed_ports:
            yield _settings(manifest, profiles=profiles, expose="fixed", port_table=table)
    if any(service.source for service in manifest.services.values()):
        yield _settings(manifest, profiles=manifest.profiles, expose="loopback", development=True)


def rehearse(
    system: System, manifest: Manifest, settings: Settings, config: Mapping[str, str]
) -> tuple[dict[str, Service], list[AnyImage]]:
    """Run the program as a preview does, with the services of ``manifest`` that ``settings`` select, or with all where
    it has none; return services and images in the order in which they are declared. Raise what the program raises.
    """
    # A thread of its own: the caller's may have an event loop running. And a context: Pulumi keeps its settings there,
    # and waits for all outputs that it finds in them.
    with ThreadPoolExecutor(1) as runner:
        return runner.submit(contextvars.Context().run, _run, system, manifest, settings, config).result()


class _RehearsedEnvironment(Environment):
    """An environment that asks neither the engine nor the user's state."""

    rehearsed = True

    def __init__(self, **given: Any) -> None:
        self.containers: list[Container] = []
        self.images: dict[AnyImage, None] = {}
        super().__init__(resolve=self._noted, **given)

    def declare(self, container: Container) -> None:
        super().declare(container)
        self.containers.append(container)

    def _noted(self, image: AnyImage) -> str:
        self.images[image] = None
        return f"rehearsal/image-{len(self.images)}:1"

    def fingerprint(self, value: Any) -> pulumi.Output[str]:  # noqa: ARG002
        return pulumi.Output.from_input("")

    def _connected(self) -> Any:
        return None

    def _engine_identity(self) -> str:
        return ""

    def _exposed(self) -> Exposure:
        assert self.settings.expose != "auto"  # noqa: S101 - see variations
        return Exposure(mode=self.settings.expose)

    def _allocated(self) -> Allocation:
        return _ALLOCATION

    def _there(self) -> list[Mapping[str, Any]]:
        return []

    def _picked(self, service: str, endpoint: str, number: int, protocol: Protocol) -> int:  # noqa: ARG002
        return number

    def _free_fixed(self, service: str, port: int, protocol: Protocol) -> tuple[str, int]:  # noqa: ARG002
        return ADDRESS, port

    def credential(self, service: str, purpose: str) -> pulumi.Output[str]:
        return pulumi.Output.secret(f"{service}-{purpose}")

    def image_config(self, image: AnyImage | str) -> Mapping[str, Any]:  # noqa: ARG002
        return {}

    def variables_now(self, service: str) -> Mapping[str, str]:  # noqa: ARG002
        return {}

    def cores(self) -> int:
        return _CORES


class _Mocks(mocks.Mocks):
    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        return f"{args.name}-id", dict(args.inputs)

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]] | None]:  # noqa: ARG002
        return {}, None


def _settings(manifest: Manifest, **given: Any) -> Settings:
    options = {name: option.default for name, option in manifest.options.items()}
    return Settings(system=_STACK, branch=_STACK, options=options, **given)


async def _services(environment: _RehearsedEnvironment) -> dict[str, Service]:
    """The services by name, each with what it requires."""
    made_by = {id(each.resource): each.name for each in environment.containers if each.resource is not None}
    services = {}
    for container in environment.containers:
        uses = {name: await _used(value, made_by) for name, value in container.variables.items()}
        in_command = [each for word in container.command or () for each in await _used(word, made_by)]
        named = [each.name for each in container.needs]
        wants = [each.name for each in container.wants]
        requires = dict.fromkeys([*named, *(each for found in uses.values() for each in found), *in_command])
        services[container.name] = Service(
            requires=tuple(each for each in requires if each not in wants and each != container.name),
            wants=tuple(wants),
            uses={name: found for name, found in uses.items() if found},
            profile=container.profile,
            required=container.profile is None if container.required is None else container.required,
            source=container.source,
        )
    return services


async def _used(value: Any, made_by: Mapping[int, str]) -> tuple[str, ...]:
    """The services whose outputs ``value`` is made from."""
    if not isinstance(value, pulumi.Output):
        return ()
    return tuple(sorted({made_by[id(each)] for each in await value.resources() if id(each) in made_by}))


def _run(
    system: System, manifest: Manifest, settings: Settings, config: Mapping[str, str]
) -> tuple[dict[str, Service], list[AnyImage]]:
    identity = Identity(
        project=_STACK, stack=_STACK, system=_STACK, branch=_STACK, owner=_STACK, backend="000000000000"
    )
    made: list[_RehearsedEnvironment] = []

    def program() -> None:
        made.append(_RehearsedEnvironment(identity=identity, manifest=manifest, settings=settings))
        system.declare(made[0])

    async def main() -> dict[str, Service]:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(executor)
        # A program that fails leaves tasks that nobody awaits; what it failed of is raised anyway.
        loop.set_exception_handler(lambda *_: None)
        # Mocks share the set of outputs that are waited for with the program before, also with one that failed.
        SETTINGS.outputs = set()
        set_mocks(_Mocks(), project=_STACK, stack=_STACK, preview=True)
        set_all_config(dict(config))
        await run_pulumi_func(program)
        return await _services(made[0])

    # The mock monitor makes an event loop in every thread that it finds without one, and leaves it open.
    loops: list[asyncio.AbstractEventLoop] = []

    def give_loop() -> None:
        loops.append(asyncio.new_event_loop())
        asyncio.set_event_loop(loops[-1])

    executor = ThreadPoolExecutor(4, initializer=give_loop)
    try:
        return asyncio.run(main()), list(made[0].images)
    finally:
        executor.shutdown()
        for loop in loops:
            loop.close()
