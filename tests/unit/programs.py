"""Runs Pulumi programs against mocks: each in a context and an event loop of its own, so that none sees another's."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import pulumi
from pulumi.runtime import mocks, set_all_config, set_mocks
from pulumi.runtime.rpc import is_rpc_secret, unwrap_rpc_secret
from pulumi.runtime.settings import SETTINGS
from pulumi.runtime.stack import run_pulumi_func

from ephemera import Environment
from ephemera.host.probes import Probe
from ephemera.model.catalog import Manifest
from ephemera.model.images import AnyImage
from ephemera.model.labels import Identity
from ephemera.model.settings import Settings
from tests.unit.doubles import IDENTITY, SHOP

REFERENCES: dict[AnyImage, str] = {image: f"ephemera/image-{at}:1" for at, image in enumerate(SHOP.images)}


@dataclass
class Registered:
    """What a program registered, in order, which inputs of it are secret, and what it exported."""

    resources: list[mocks.MockResourceArgs] = field(default_factory=list)
    secrets: set[tuple[str, str]] = field(default_factory=set)
    exports: dict[str, Any] = field(default_factory=dict)

    def names(self, kind: str) -> list[str]:
        """Names of all resources whose type ends with ``kind``, in order."""
        return [resource.name for resource in self.resources if resource.typ.endswith(kind)]

    def inputs(self, kind: str, name: str) -> dict[str, Any]:
        """What the only resource of that kind and name was given."""
        (found,) = [each for each in self.resources if each.typ.endswith(kind) and each.name == name]
        return found.inputs

    def container(self, name: str) -> dict[str, Any]:
        """What that container was given."""
        return self.inputs("container:Container", name)


class _Mocks(mocks.Mocks):
    def __init__(self, registered: Registered) -> None:
        self._registered = registered

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        given = args.inputs
        args.inputs = {key: unwrap_rpc_secret(value) for key, value in given.items()}
        self._registered.secrets |= {(args.name, key) for key, value in given.items() if is_rpc_secret(value)}
        self._registered.resources.append(args)
        known = {"imageId": f"sha256:{args.name}"} if args.typ.endswith("RemoteImage") else {}
        return f"{args.name}-id", {**args.inputs, **known}

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]] | None]:
        raise AssertionError(f"the program calls {args.token}")


def run(
    program: Callable[[], Any],
    *,
    registered: Registered | None = None,
    stack: str = IDENTITY.stack,
    preview: bool = False,
    config: Mapping[str, str] | None = None,
    secret: Collection[str] = (),
) -> Registered:
    """Run ``program`` to its end; raises what it raises. ``registered`` is filled even then. ``secret``: keys of
    ``config`` that Pulumi has decrypted."""
    registered = registered if registered is not None else Registered()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(executor)
        # A program that fails leaves tasks that nobody awaits; what it failed of is raised anyway.
        loop.set_exception_handler(lambda *_: None)
        # Mocks share the set of outputs that are waited for with the program before, also with one that failed.
        SETTINGS.outputs = set()
        set_mocks(_Mocks(registered), project="ephemera", stack=stack, preview=preview)
        given = {f"ephemera:{key}": value for key, value in (config or {}).items()}
        set_all_config(given, [f"ephemera:{key}" for key in secret])
        await run_pulumi_func(program)
        root: Any = pulumi.runtime.get_root_resource()
        registered.exports.update(await resolved(root.outputs))

    # The mock monitor makes an event loop in every thread that it finds without one, and leaves it open.
    loops: list[asyncio.AbstractEventLoop] = []
    executor = ThreadPoolExecutor(4, initializer=lambda: _give_loop(loops))
    try:
        contextvars.copy_context().run(asyncio.run, main())
    finally:
        executor.shutdown()
        for loop in loops:
            loop.close()
    return registered


def _give_loop(loops: list[asyncio.AbstractEventLoop]) -> None:
    loops.append(asyncio.new_event_loop())
    asyncio.set_event_loop(loops[-1])


async def resolved(value: Any) -> Any:
    """An output's value."""
    return await pulumi.Output.from_input(value).future()


async def secrets_in(value: Any) -> list[Any]:
    """All plain values in ``value``, a stack's outputs as they are exported, that are marked secret."""
    if isinstance(value, pulumi.Output):
        known = await value.future()
        return [known] if await value.is_secret() else await secrets_in(known)
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return [secret for part in parts for secret in await secrets_in(part)]


def environment(
    manifest: Manifest = SHOP,
    *,
    identity: Identity = IDENTITY,
    references: Mapping[AnyImage, str] = REFERENCES,
    **settings: Any,
) -> Environment:
    """An environment inside a running program."""
    given = Settings(system=identity.system, branch=identity.branch, **settings)
    return Environment(identity=identity, manifest=manifest, settings=given, resolve=references.__getitem__)


@dataclass
class OpenGates:
    """Stands for the gatekeeper: every gate is open, unless the test holds or fails it."""

    asked: list[tuple[str, str, Probe, float, tuple[str, int] | None]] = field(default_factory=list)
    failures: dict[str, Exception] = field(default_factory=dict)
    before: Callable[[str], None] = lambda _: None

    def in_sight(self, service: str, container: str) -> AbstractContextManager[None]:
        """The engine always answers."""
        return nullcontext()

    async def passed(
        self, service: str, container: str, probe: Probe, *, timeout_seconds: float, asked: tuple[str, int] | None
    ) -> None:
        self.asked.append((service, container, probe, timeout_seconds, asked))
        self.before(service)
        if service in self.failures:
            raise self.failures[service]
