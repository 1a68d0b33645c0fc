"""Everything is imported and built once, then forked: four workers start as fast as one, and share its memory."""

import signal
import sys
import time

import structlog
from chassis import logs

from olav.app import build
from olav.serving.children import STOP, PortError, fork, listen, reap, stop
from olav.serving.worker import work
from olav.settings import ServerSettings

log = structlog.get_logger("olav")

# A worker that ends sooner than this after its start will do so again.
_TOO_SOON_SECONDS = 2.0
# A library's thread that does not block SIGCHLD may be given it, and drop it: workers are looked at all the same.
_LOOK_SECONDS = 1.0


def serve(settings: ServerSettings) -> int:
    """Serve with `settings.workers` processes until SIGTERM or SIGINT; the exit status.

    A worker that dies is replaced; one that dies at its start ends the server with 1.
    """
    logs.configure(settings.log_level, "olav-server", "olav")
    if settings.jwt_secret_is_default:
        log.warning("JWT_SECRET_KEY is the default that everybody knows: for development only")
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP | {signal.SIGCHLD})
    try:
        listening = listen(settings)
    except PortError as error:
        print(error, file=sys.stderr)
        return 1
    app = build(settings)

    def start() -> int:
        return fork(lambda: work(listening, lambda: app))

    started = {start(): time.monotonic() for _ in range(settings.workers)}
    log.info("serving", port=settings.port, workers=settings.workers, environment=settings.environment)
    status = 0
    number: int = signal.SIGCHLD
    while not status:
        found = signal.sigtimedwait(STOP | {signal.SIGCHLD}, _LOOK_SECONDS)
        number = found.si_signo if found else signal.SIGCHLD
        if number in STOP:
            break
        for pid, code in reap(set(started)):
            age = time.monotonic() - started.pop(pid)
            log.error("worker died", pid=pid, status=code, age_seconds=round(age, 1))
            if age < _TOO_SOON_SECONDS:
                status = 1
            else:
                started[start()] = time.monotonic()
    log.info("stopping", signal=signal.Signals(number).name)
    listening.close()
    stop(set(started))
    log.info("stopped")
    return status
