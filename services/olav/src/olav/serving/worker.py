"""One worker: uvicorn on a socket that its parent listens on."""

import gc
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import NoReturn

from chassis.process import uvicorn_server
from starlette.types import ASGIApp


def work(listening: socket.socket, build: Callable[[], ASGIApp]) -> NoReturn:
    """Serve what `build` returns until SIGTERM, and end the process. For a forked child, with signals blocked."""
    status = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        app = build()
        # What was made until here lives as long as the process, shared with the parent where nobody writes to it.
        gc.freeze()
        gc.enable()
        server = uvicorn_server(app)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        server.run(sockets=[listening])
        status = 0 if server.started else 1
    except Exception:  # noqa: BLE001  the parent's frames must not see it: this process is no second parent
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        # Not sys.exit: what the parent registered to be done at its end is the parent's.
        os._exit(status)
