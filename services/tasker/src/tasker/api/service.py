"""A process: its HTTP server next to its background work, and how both end."""

import asyncio
import contextlib
import gc
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

import structlog
import uvicorn
from fastapi import FastAPI

from tasker import logs
from tasker.settings import ServiceSettings, SettingsError, load

log = structlog.get_logger()


class StartError(Exception):
    """The service cannot start: the message says what it waited for or found, and what to do."""


S = TypeVar("S", bound=ServiceSettings)
Background = Callable[[asyncio.Event], Coroutine[Any, Any, None]]
Build = Callable[[], tuple[FastAPI, Background]]


def read_settings(kind: type[S], environ: Mapping[str, str]) -> S:
    """The settings; a bad environment ends the process with status 2 and one line on stderr."""
    try:
        return load(kind, environ)
    except SettingsError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None


def run(name: str, settings: ServiceSettings, port: int, build: Build) -> int:
    """Serve until SIGTERM or SIGINT, or until the background work ends; the process's exit status.

    The server listens before the background work has started anything: `/health` says `starting` meanwhile.
    """
    logs.configure(settings.log_level, name)
    # What the imports made lives as long as the process: no collection need look through it, least of all the last one.
    gc.freeze()
    # uvicorn raises the signal that stopped it once more when it is done. With Python's own handlers back in place,
    # that would end the process with a signal's status, in the middle of the clean-up.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    return asyncio.run(_serve(settings.host, port, build))


async def _serve(host: str, port: int, build: Build) -> int:
    app, background = build()
    server = uvicorn.Server(
        uvicorn.Config(
            app, host=host, port=port, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=3
        )
    )
    stop = asyncio.Event()
    work = asyncio.create_task(background(stop))
    work.add_done_callback(lambda _: setattr(server, "should_exit", True))
    try:
        await server.serve()
    finally:
        stop.set()
        with contextlib.suppress(StartError):
            await work
    error = work.exception()
    if error is not None:
        log.error("cannot start", error=str(error))
        return 1
    log.info("stopped")
    return 0


async def pause(stop: asyncio.Event, seconds: float) -> bool:
    """Sleep, but not past a stop; whether the service shall stop."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
    return stop.is_set()
