"""The worker's life: wait for orchestration, then run the engine."""

import asyncio
import http.client
import json
import time
import urllib.request
from collections.abc import Mapping
from typing import Any

import structlog
from prometheus_client import CollectorRegistry

from tasker.api.service import StartError, pause
from tasker.settings import WorkerSettings
from tasker.store.database import Database
from tasker.worker.engine import Engine
from tasker.workflows.handler import Handler

log = structlog.get_logger()


class Program:
    """`handlers`: what this worker can run; none at all is fine, it then claims nothing."""

    def __init__(self, settings: WorkerSettings, handlers: Mapping[str, Handler]) -> None:
        self.handlers = handlers
        self.registry = CollectorRegistry()
        # An attempt may need two connections (its transaction, the gateway's); the loops and the API need some more.
        self.database = Database(
            settings.database_url,
            application=f"tasker-worker-{settings.worker_id}"[:63],
            max_connections=2 * settings.concurrency + 4,
        )
        self.engine = Engine(settings, self.database, handlers, self.registry)
        self._settings = settings

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`. Raises StartError."""
        await self.database.open()
        try:
            await self._wait_for_orchestration(stop)
            if not stop.is_set():
                await self.engine.run(stop)
        finally:
            await self.database.close()

    async def _wait_for_orchestration(self, stop: asyncio.Event) -> None:
        """It brings the schema, and it knows which namespaces there are. Raises StartError."""
        url = self._settings.orchestration_url.rstrip("/")
        deadline = time.monotonic() + self._settings.start_timeout_seconds
        while not stop.is_set():
            try:
                await asyncio.to_thread(_get, f"{url}/health")
                document = await asyncio.to_thread(_get, f"{url}/v1/namespaces")
            except (OSError, http.client.HTTPException, ValueError) as error:
                if time.monotonic() > deadline:
                    raise StartError(
                        f"orchestration at {url} was not healthy within {self._settings.start_timeout_seconds:g} s"
                        f" (TASKER_ORCHESTRATION_URL, TASKER_START_TIMEOUT_SECONDS): {error}"
                    ) from error
                log.debug("waiting for orchestration", url=url, error=str(error))
                await pause(stop, 0.1)
            else:
                self._check_namespaces(document)
                return

    def _check_namespaces(self, document: dict[str, Any]) -> None:
        known = [namespace["name"] for namespace in document["namespaces"]]
        if unknown := [name for name in self._settings.namespaces if name not in known]:
            raise StartError(
                f"TASKER_NAMESPACES names {', '.join(unknown)}, unknown to orchestration; there are: {', '.join(known)}"
            )


def _get(url: str) -> Any:
    """The JSON document at `url`. An error status is an OSError. Proxies of the environment are not for neighbours."""
    # The standard library, for two requests in a worker's life: an HTTP client package would cost a tenth of its start.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=3) as answer:
        return json.load(answer)
