"""`python -m chassis.rehearsal`: start a service that does nothing, ask it once, and end.

The build of an image runs it for the bytecode of all that FastAPI and uvicorn import late.
"""

import asyncio
import sys
import urllib.request

from chassis.app import Api
from chassis.process import run
from chassis.settings import ServiceSettings
from chassis.waiting import wait_for


def build(settings: ServiceSettings) -> Api:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    url = f"http://127.0.0.1:{settings.port}"

    async def ask() -> None:
        for path in ("health", "metrics", "openapi.json"):
            await asyncio.to_thread(opener.open, f"{url}/{path}", timeout=10)

    async def work(_stop: asyncio.Event) -> None:
        await wait_for(url, ask, (OSError,), patience_seconds=30)

    return Api("rehearsal", "1.0.0", settings, prefix="rehearsal", work=work)


if __name__ == "__main__":
    sys.exit(run("rehearsal", ServiceSettings, build, {"HOST": "127.0.0.1", "LOG_LEVEL": "warning"}))
