"""The orchestrator's routes: LangServe's, with this API's roles, threads and errors."""

import asyncio
import json
import warnings
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import suppress
from typing import Any

import langserve
import structlog
from chassis import errors
from chassis.errors import ApiError
from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.routing import APIRoute
from sse_starlette import EventSourceResponse

from olav.graph import requests
from olav.graph.orchestrator import Orchestrator
from olav.graph.runnable import USERNAME, Served

log = structlog.get_logger("olav")

# LangServe's last release calls it; nobody who reads this log can change that.
warnings.filterwarnings("ignore", message="astream_log is deprecated")

PATH = "/orchestrator"


def add_routes(app: FastAPI, orchestrator: Orchestrator, *, authorize: Callable[..., Any]) -> None:
    """`authorize`: a dependency that refuses who may not, and leaves `request.state.user`, whose `.username` owns the
    threads."""
    router = APIRouter(route_class=_Route)
    langserve.add_routes(
        router,
        Served(orchestrator),
        path=PATH,
        dependencies=[Depends(authorize), Depends(requests.checked)],
        per_req_config_modifier=_owned,
        enabled_endpoints=(
            "invoke",
            "batch",
            "stream",
            "stream_log",
            "input_schema",
            "output_schema",
            "config_schema",
        ),
    )
    app.include_router(router)
    described = app.openapi

    def document() -> dict[str, Any]:
        found = described()
        requests.document(found, PATH)
        return found

    app.openapi = document  # type: ignore[method-assign]


def _owned(config: dict[str, Any], request: Request) -> dict[str, Any]:
    """Only what is ours of the caller's config, and whose it is."""
    thread_id = config.get("configurable", {}).get("thread_id")
    return {"configurable": {"thread_id": thread_id, USERNAME: request.state.user.username}}


class _Route(APIRoute):
    """Streams end with an error event of ours where LangServe's would say 500, whatever it was, and then break off."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            response = await handle(request)
            if isinstance(response, EventSourceResponse):
                response.body_iterator = _told(response.body_iterator)
            return response

        return handled


async def _told(events: Any) -> AsyncGenerator[Any, None]:
    try:
        async for event in events:
            # LangServe's, which comes before the exception that it is about.
            if event.get("event") != "error":
                yield event
    except ApiError as error:
        yield _error(error.status_code, error.code, str(error.detail))
    except Exception:
        # The last one who can answer: the log has it.
        log.exception("unexpected error in a stream")
        yield _error(500, "internal", errors.internal().detail)
    except GeneratorExit:
        # LangServe's answers its end with one more event, which a generator that is closed must not: cancelled, it may.
        with suppress(asyncio.CancelledError):
            await events.athrow(asyncio.CancelledError())
            await anext(events)
        raise


def _error(status: int, code: str, message: str) -> dict[str, str]:
    return {"event": "error", "data": json.dumps({"status_code": status, "code": code, "message": message})}
