"""Waiting for services that are still starting, and the one error of it all."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

log = structlog.get_logger("olav")

POLL_SECONDS = 0.2


class InitError(Exception):
    """It cannot be done; the message is one line that says what, and where."""


async def wait_for(
    what: str, ping: Callable[[], Awaitable[None]], transient: tuple[type[Exception], ...], patience_seconds: float
) -> None:
    """Until `ping` no longer raises one of `transient`. Raises InitError after `patience_seconds`."""
    deadline = asyncio.get_running_loop().time() + patience_seconds
    while True:
        try:
            await ping()
        except transient as error:
            if asyncio.get_running_loop().time() > deadline:
                raise InitError(f"{what} could not be used within {patience_seconds:g} s: {line(error)}") from error
            log.info("waiting", what=what, error=line(error))
            await asyncio.sleep(POLL_SECONDS)
        else:
            return


def line(error: Exception) -> str:
    """What it says, on one line."""
    return " ".join(str(error).split())[:300] or type(error).__name__
