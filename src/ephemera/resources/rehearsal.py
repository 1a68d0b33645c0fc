"""A rehearsal: a system's program run to its end against Pulumi's mocks, without Docker, files or network."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pulumi
from pulumi.runtime import mocks, set_all_config, set_mocks
from pulumi.runtime.settings import SETTINGS
from pulumi.runtime.stack import run_pulumi_func

from ephemera.contract.catalog import System
from ephemera.contract.images import AnyImage
from ephemera.contract.labels import Identity
from ephemera.contract.settings import Expose, Settings
from ephemera.home.addresses import Allocation
from ephemera.host.exposure import Exposure
from ephemera.host.fixed_ports import ADDRESS
from ephemera.host.ports import Protocol
from ephemera.resources.environment import Environment

_STACK = "rehearsal"
_ALLOCATION = Allocation(number=0, subnet="10.213.0.0/28", address="127.83.1.1")
_CORES = 1024  # that of no host: which one the system is to run on is not known here
_WAYS: tuple[Expose, ...] = ("loopback", "dynamic", "none")


def variations(system: System) -> Iterator[Settings]:
    """Settings to rehearse a system with: no profile, each, all; every way to publish, every table of fixed ports;
    development mode, where it has one."""
    groups = dict.fromkeys([(), *((profile,) for profile in system.profiles), system.profiles])
    for profiles in groups:
        for way in _WAYS:
            yield _settings(system, profiles=profiles, expose=way)
        for table in system.fixed_ports:
            yield _settings(system, profiles=profiles, expose="fixed", port_table=table)
    if any(service.mountable for service in system.services.values()):
        yield _settings(system, profiles=system.profiles, expose="loopback", development=True)


def rehearse(system: System, settings: Settings, config: Mapping[str, str]) -> None:
    """Run the program as a preview does; raises what it raises."""
    # A thread of its own: the caller's may have an event loop running. And a context: Pulumi keeps its settings there,
    # and waits for all outputs that it finds in them.
    with ThreadPoolExecutor(1) as runner:
        runner.submit(contextvars.Context().run, _run, system, settings, config).result()


class _RehearsedEnvironment(Environment):
    """An environment that asks neither the engine nor the user's state."""

    rehearsed = True

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

    def image_config(self, image: AnyImage) -> Mapping[str, Any]:  # noqa: ARG002
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


def _settings(system: System, **given: Any) -> Settings:
    options = {name: option.default for name, option in system.options.items()}
    return Settings(system=_STACK, branch=_STACK, options=options, **given)


def _program(system: System, settings: Settings) -> None:
    identity = Identity(
        project=_STACK, stack=_STACK, system=_STACK, branch=_STACK, owner=_STACK, backend="000000000000"
    )
    references = {image: f"rehearsal/image-{number}:1" for number, image in enumerate(system.images)}
    system.load()(_RehearsedEnvironment(identity=identity, system=system, settings=settings, references=references))


def _run(system: System, settings: Settings, config: Mapping[str, str]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(executor)
        # A program that fails leaves tasks that nobody awaits; what it failed of is raised anyway.
        loop.set_exception_handler(lambda *_: None)
        # Mocks share the set of outputs that are waited for with the program before, also with one that failed.
        SETTINGS.outputs = set()
        set_mocks(_Mocks(), project=_STACK, stack=_STACK, preview=True)
        set_all_config(dict(config))
        await run_pulumi_func(lambda: _program(system, settings))

    # The mock monitor makes an event loop in every thread that it finds without one, and leaves it open.
    loops: list[asyncio.AbstractEventLoop] = []

    def give_loop() -> None:
        loops.append(asyncio.new_event_loop())
        asyncio.set_event_loop(loops[-1])

    executor = ThreadPoolExecutor(4, initializer=give_loop)
    try:
        asyncio.run(main())
    finally:
        executor.shutdown()
        for loop in loops:
            loop.close()
