"""A service's process: settings, logs, the HTTP server, and how it ends. For programs: it disables garbage collection
until they run."""

# ruff: noqa: E402

import gc

# Before the imports that take a service's time to start: they make objects that stay, so looking through them again and
# again is in vain. `run` ends it.
gc.disable()

import os
import signal
from collections.abc import Callable, Mapping
from typing import TypeVar

import structlog
import uvicorn
from starlette.types import ASGIApp

from chassis import logs
from chassis.app import Api
from chassis.settings import ServiceSettings, load_or_exit
from chassis.waiting import StartError

log = structlog.get_logger()

GRACE_SECONDS = 3
"""How long requests under way may take after SIGTERM."""

S = TypeVar("S", bound=ServiceSettings)


def run(service: str, kind: type[S], build: Callable[[S], Api], environ: Mapping[str, str] = os.environ) -> int:
    """Serve until SIGTERM or SIGINT, or until the application's work ends; return the process's exit status.

    0: ended as asked; 1: it cannot start, the log says why; 2: a bad environment, named in one line on stderr.
    """
    settings = load_or_exit(kind, environ)
    logs.configure(settings.log_level, service, kind.__module__.partition(".")[0])
    app = build(settings)
    # What the imports made lives as long as the process: no collection need look through it, least of all the last one.
    gc.freeze()
    gc.enable()
    server = uvicorn_server(app, host=settings.host, port=settings.port)
    app.when_work_ends = lambda: setattr(server, "should_exit", True)
    try:
        server.run()
    except SystemExit:
        # uvicorn's, which has logged why: the port cannot be had, or the lifespan failed.
        return 1
    if app.failure is not None or not server.started:
        defect = None if isinstance(app.failure, StartError) else app.failure
        log.error("cannot start", error=str(app.failure), exc_info=defect)
        return 1
    log.info("stopped")
    return 0


def uvicorn_server(app: ASGIApp, *, host: str = "127.0.0.1", port: int = 0) -> uvicorn.Server:
    """Return a server for `app` in the main thread. From here on SIGTERM and SIGINT are the server's alone."""
    # uvicorn raises the signal that stopped it once more when it is done. With Python's own handlers back in place,
    # that would end the process with a signal's status, in the middle of the clean-up.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    return uvicorn.Server(
        uvicorn.Config(
            app,
            host=host,
            port=port,
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
    )
