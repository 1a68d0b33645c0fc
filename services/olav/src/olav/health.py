"""The health document: every configured dependency, asked now."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Literal

from pydantic import BaseModel

from olav import __version__
from olav.metrics import DEPENDENCY_UP

_STARTED = time.monotonic()

Check = Callable[[], Awaitable[None]]

# Without the model, which is another's API, all but answers is as ever.
OPTIONAL = frozenset({"llm"})


class Dependency(BaseModel):
    """`required`: the server is not healthy without it."""

    status: Literal["up", "down"]
    required: bool
    latency_ms: float | None = None
    error: str | None = None


class Health(BaseModel):
    status: Literal["healthy", "degraded", "unhealthy"]
    service: Literal["olav-server"] = "olav-server"
    version: str = __version__
    environment: str
    uptime_seconds: float
    dependencies: dict[str, Dependency]


class Prober:
    """`checks`: by dependency, what raises when it is down."""

    def __init__(self, environment: str, checks: Mapping[str, Check]) -> None:
        self._environment = environment
        self._checks = dict(checks)
        self._running: dict[str, asyncio.Task[Dependency]] = {}

    async def health(self) -> Health:
        """Everything is asked side by side; who asks meanwhile gets the same answers."""
        found = await asyncio.gather(*(self._dependency(name) for name in self._checks))
        dependencies = dict(zip(self._checks, found, strict=True))
        down = [dependency for dependency in dependencies.values() if dependency.status == "down"]
        return Health(
            status="unhealthy" if any(d.required for d in down) else "degraded" if down else "healthy",
            environment=self._environment,
            uptime_seconds=round(time.monotonic() - _STARTED, 3),
            dependencies=dependencies,
        )

    async def _dependency(self, name: str) -> Dependency:
        required = name not in OPTIONAL
        task = self._running.get(name)
        if task is None:
            task = asyncio.create_task(self._ask(name, required=required))
            self._running[name] = task
            task.add_done_callback(lambda _: self._running.pop(name))
        # A look-up of a name that nobody answers outlasts its time-out in a thread of the loop's few. So one that is
        # late goes on, and the next question waits for the same one instead of starting another.
        seconds = 2.0 if required else 0.5
        done, _ = await asyncio.wait({task}, timeout=seconds)
        dependency = (
            task.result() if done else Dependency(status="down", required=required, error=f"no answer in {seconds:g} s")
        )
        DEPENDENCY_UP.labels(name).set(dependency.status == "up")
        return dependency

    async def _ask(self, name: str, *, required: bool) -> Dependency:
        started = time.monotonic()
        try:
            await self._checks[name]()
        except Exception as error:  # noqa: BLE001  whatever it is, it is the answer
            # The kind alone: a message may carry addresses and users, and anybody may ask.
            return Dependency(status="down", required=required, error=type(error).__name__)
        return Dependency(status="up", required=required, latency_ms=round((time.monotonic() - started) * 1000, 3))
