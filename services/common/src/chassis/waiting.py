"""Waiting at the start of a program for what it needs, and until it shall stop."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import structlog

log = structlog.get_logger()

POLL_SECONDS = 0.2

T = TypeVar("T")


class StartError(Exception):
    """The program cannot start: the message says what it waited for or found, and where."""


async def wait_for(
    what: str,
    ask: Callable[[], Awaitable[T]],
    transient: tuple[type[Exception], ...],
    *,
    patience_seconds: float,
    poll_seconds: float = POLL_SECONDS,
) -> T:
    """Return what `ask` returns once it no longer raises one of `transient`.

    Raise StartError after `patience_seconds`; `what` names the service, and the variables that say where it is.
    """
    deadline = asyncio.get_running_loop().time() + patience_seconds
    while True:
        try:
            return await ask()
        except transient as error:
            if asyncio.get_running_loop().time() > deadline:
                raise StartError(f"{what} could not be used within {patience_seconds:g} s: {line(error)}") from error
            log.info("waiting", what=what, error=line(error))
            await asyncio.sleep(poll_seconds)


async def unless(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """Return what `work` returns, or None when `stop` is set first: it is cancelled then."""
    task, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        task.cancel()
        await asyncio.wait({task})
        return None
    finally:
        stopping.cancel()


async def pause(stop: asyncio.Event, seconds: float) -> bool:
    """Sleep, but not past a stop; return whether to stop."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
    return stop.is_set()


def line(error: Exception) -> str:
    """Return what an error says, on one line."""
    return " ".join(str(error).split())[:300] or type(error).__name__
