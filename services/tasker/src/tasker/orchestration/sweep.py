"""What orchestration does besides answering: fail steps that no worker survives."""

import asyncio

import structlog
from chassis.database import GONE, Database
from chassis.waiting import pause

from tasker.store import steps

log = structlog.get_logger()

_SECONDS = 1.0


async def sweep(database: Database, stop: asyncio.Event) -> None:
    """Look every second, until `stop`."""
    while not await pause(stop, _SECONDS):
        try:
            found = True
            while found:
                async with database.transaction() as connection:
                    found = await steps.fail_abandoned(connection)
        except GONE as error:
            log.warning("database is gone", error=str(error))
