"""What orchestration does besides answering: bring the schema up to date, and fail steps that no worker survives."""

import asyncio
import time

import structlog

from tasker.api.service import StartError, pause
from tasker.settings import OrchestrationSettings
from tasker.store import steps
from tasker.store.database import GONE, Database
from tasker.store.migrate import MigrationError, migrate, shipped

log = structlog.get_logger()

_SWEEP_SECONDS = 1.0


class Program:
    """`schema_version` is None until the schema is up to date."""

    def __init__(self, settings: OrchestrationSettings) -> None:
        self._settings = settings
        self.database = Database(settings.database_url, application="tasker-orchestration", max_connections=10)
        self.schema_version: int | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`. Raises StartError."""
        await self.database.open()
        try:
            await self._migrate(stop)
            while not await pause(stop, _SWEEP_SECONDS):
                await self._sweep()
        finally:
            await self.database.close()

    async def _migrate(self, stop: asyncio.Event) -> None:
        deadline = time.monotonic() + self._settings.start_timeout_seconds
        while not stop.is_set():
            try:
                self.schema_version = await migrate(self.database, shipped())
            except MigrationError as error:
                raise StartError(str(error)) from error
            except GONE as error:
                if time.monotonic() > deadline:
                    raise StartError(
                        f"PostgreSQL could not be used within {self._settings.start_timeout_seconds:g} s"
                        f" (DATABASE_URL, TASKER_START_TIMEOUT_SECONDS): {error}"
                    ) from error
                log.info("waiting for the database", error=str(error))
                await pause(stop, 0.2)
            else:
                log.info("schema is up to date", version=self.schema_version)
                return

    async def _sweep(self) -> None:
        try:
            found = True
            while found:
                async with self.database.transaction() as connection:
                    found = await steps.fail_abandoned(connection)
        except GONE as error:
            log.warning("database is gone", error=str(error))
