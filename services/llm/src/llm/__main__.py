"""`python -m llm`: serve until SIGTERM or SIGINT, then end with status 0. A bad environment: status 2 and one line."""

import gc
import os
import signal
import sys

import structlog
import uvicorn

from llm import logs
from llm.app import create_app
from llm.settings import SettingsError, load


def main() -> int:
    try:
        settings = load(os.environ)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    logs.configure(settings.log_level)
    # What the imports made lives as long as the process: no collection need look through it.
    gc.freeze()
    # uvicorn raises the signal that stopped it once more when it is done; with Python's own handlers, that would be the
    # process's status.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    # One process: behaviour and record are its own.
    uvicorn.Server(
        uvicorn.Config(
            create_app(settings),
            host=settings.host,
            port=settings.port,
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=3,
        )
    ).run()
    structlog.get_logger().info("stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
