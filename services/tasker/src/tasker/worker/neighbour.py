"""The worker's neighbour: orchestration, which brings the schema and knows which namespaces there are."""

import asyncio
import http.client
import json
import urllib.request
from typing import Any

from chassis.waiting import StartError, wait_for

from tasker.settings import WorkerSettings


async def wait_for_orchestration(settings: WorkerSettings) -> None:
    """Return once it is healthy. Raise StartError, also when a namespace of this worker is unknown to it."""
    url = settings.orchestration_url.rstrip("/")

    async def namespaces() -> Any:
        await asyncio.to_thread(_get, f"{url}/health")
        return await asyncio.to_thread(_get, f"{url}/v1/namespaces")

    document = await wait_for(
        f"orchestration at {url} (TASKER_ORCHESTRATION_URL)",
        namespaces,
        (OSError, http.client.HTTPException, ValueError),
        patience_seconds=settings.start_timeout_seconds,
        poll_seconds=0.1,
    )
    known = [namespace["name"] for namespace in document["namespaces"]]
    if unknown := [name for name in settings.namespaces if name not in known]:
        raise StartError(
            f"TASKER_NAMESPACES names {', '.join(unknown)}, unknown to orchestration; there are: {', '.join(known)}"
        )


def _get(url: str) -> Any:
    """The JSON document at `url`. An error status is an OSError. Proxies of the environment are not for neighbours."""
    # The standard library, for two requests in a worker's life: an HTTP client package would cost a tenth of its start.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=3) as answer:
        return json.load(answer)
