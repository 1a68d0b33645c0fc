"""The health document: every dependency, asked now."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel

from chassis import metrics

_STARTED = time.monotonic()
# How long a check may take, in seconds.
_REQUIRED_SECONDS = 2.0
_OPTIONAL_SECONDS = 0.5

Ask = Callable[[], Awaitable[object]]
"""A check: raises when what it asks is down."""


class DownError(Exception):
    """Raised by a check whose reason anybody may read; of other errors the health document names the kind alone."""


class Check(BaseModel):
    """`required`: the service is not healthy without it."""

    status: Literal["up", "down"]
    required: bool
    latency_ms: float | None = None
    error: str | None = None


class Health(BaseModel):
    status: Literal["healthy", "starting", "degraded", "unhealthy"]
    service: str
    version: str
    environment: str
    uptime_seconds: float
    checks: dict[str, Check]


H = TypeVar("H", bound=Health)


class Prober(Generic[H]):
    """`model`: the document, with a service's own fields, which `details` gives. `checks`: by name. `optional`: names
    of checks without which the service is degraded, not unhealthy."""

    def __init__(
        self,
        model: type[H],
        *,
        service: str,
        version: str,
        environment: str,
        prefix: str,
        checks: Mapping[str, Ask],
        optional: Collection[str] = (),
        details: Callable[[], Mapping[str, Any]] = dict,
    ) -> None:
        self._model = model
        self._named = {"service": service, "version": version, "environment": environment}
        self._checks = dict(checks)
        self._optional = frozenset(optional)
        self._details = details
        self._up = metrics.http(prefix).up
        self._running: dict[str, asyncio.Task[Check]] = {}

    async def health(self, *, started: bool = True) -> H:
        """Return the document. All checks run side by side; who asks meanwhile gets the same answers."""
        found = await asyncio.gather(*(self._check(name) for name in self._checks))
        down = [check for check in found if check.status == "down"]
        sick = "unhealthy" if any(check.required for check in down) else "degraded" if down else "healthy"
        document = {
            **self._named,
            "status": sick if started else "starting",
            "uptime_seconds": round(time.monotonic() - _STARTED, 3),
            "checks": dict(zip(self._checks, found, strict=True)),
            **self._details(),
        }
        return self._model.model_validate(document)

    async def _check(self, name: str) -> Check:
        required = name not in self._optional
        task = self._running.get(name)
        if task is None:
            task = asyncio.create_task(self._ask(name, required=required))
            self._running[name] = task
            task.add_done_callback(lambda _: self._running.pop(name))
        # A look-up of a name that does not resolve outlasts its time-out in a thread of the loop's few. So a late one
        # goes on, and the next question waits for the same one instead of starting another.
        seconds = _REQUIRED_SECONDS if required else _OPTIONAL_SECONDS
        done, _ = await asyncio.wait({task}, timeout=seconds)
        check = task.result() if done else Check(status="down", required=required, error=f"no answer in {seconds:g} s")
        self._up.labels(name).set(check.status == "up")
        return check

    async def _ask(self, name: str, *, required: bool) -> Check:
        started = time.monotonic()
        try:
            await self._checks[name]()
        except DownError as error:
            return Check(status="down", required=required, error=str(error))
        except Exception as error:  # noqa: BLE001  whatever it is, it is the answer
            # The kind alone: a message may carry addresses and users, and anybody may ask.
            return Check(status="down", required=required, error=type(error).__name__)
        return Check(status="up", required=required, latency_ms=round((time.monotonic() - started) * 1000, 3))
