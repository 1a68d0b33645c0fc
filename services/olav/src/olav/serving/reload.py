"""For development: one worker, and a new one in its place as soon as a source file changes.

The parent imports the libraries, which takes seconds; olav itself is imported by each worker. So a change costs a fork
and the import of our own modules.
"""

import importlib
import os
import signal
import sys
from pathlib import Path

import structlog
from chassis import logs
from chassis.settings import load
from starlette.types import ASGIApp

import olav
from olav.serving.children import STOP, PortError, fork, listen, reap, stop
from olav.serving.worker import work
from olav.settings import ServerSettings

log = structlog.get_logger("olav")

_SOURCES = Path(olav.__file__).parent.parent
_WATCHED = frozenset({".py", ".sql", ".json"})
_LOOK_EVERY_SECONDS = 0.2

# Those that take long. One that is missing here is imported by the workers, which is only slower.
_LIBRARIES = (
    "argon2",
    "chassis.app",
    "fastapi",
    "jwt",
    "langchain_openai",
    "langgraph.checkpoint.postgres.aio",
    "langgraph.graph",
    "langserve",
    "opensearchpy",
    "psycopg_pool",
    "redis.asyncio",
)


def serve_reloading(settings: ServerSettings) -> int:
    """Serve until SIGTERM or SIGINT; the exit status. A worker that cannot start is started anew by the next change."""
    logs.configure(settings.log_level, "olav-server", "olav")
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP | {signal.SIGCHLD})
    try:
        listening = listen(settings)
    except PortError as error:
        print(error, file=sys.stderr)
        return 1
    for name in _LIBRARIES:
        importlib.import_module(name)
    seen = _snapshot()
    workers = {fork(lambda: work(listening, _build_anew))}
    log.info("serving, and watching for changes", port=settings.port, folder=str(_SOURCES))
    while True:
        number = signal.sigtimedwait(STOP | {signal.SIGCHLD}, _LOOK_EVERY_SECONDS)
        if number is not None and number.si_signo in STOP:
            break
        for pid, code in reap(workers):
            workers.discard(pid)
            log.error("worker ended; the next change starts another", status=code)
        if (now := _snapshot()) != seen:
            changed = sorted(str(path.relative_to(_SOURCES)) for path, _ in seen ^ now)
            log.info("sources changed", files=sorted(set(changed)))
            seen = now
            # The port stays open meanwhile: requests wait for the new worker.
            stop(workers)
            workers = {fork(lambda: work(listening, _build_anew))}
    listening.close()
    stop(workers)
    log.info("stopped")
    return 0


def _build_anew() -> ASGIApp:
    for name in [name for name in sys.modules if name == "olav" or name.startswith("olav.")]:
        del sys.modules[name]
    build = importlib.import_module("olav.app").build
    app: ASGIApp = build(load(importlib.import_module("olav.settings").ServerSettings, os.environ))
    return app


def _snapshot() -> set[tuple[Path, tuple[int, int]]]:
    """Every watched file with what tells that it was changed."""
    found = set()
    for folder, _, names in os.walk(_SOURCES):
        for name in names:
            path = Path(folder, name)
            if path.suffix not in _WATCHED:
                continue
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            found.add((path, (status.st_mtime_ns, status.st_size)))
    return found
