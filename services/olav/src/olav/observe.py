"""What every request passes: its id, the limit of its body, counters, a line in the log, the last word on a defect."""

import re
import time
import uuid

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from olav.errors import ApiError, internal
from olav.metrics import REQUEST_SECONDS, REQUESTS

log = structlog.get_logger("olav")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
LARGEST_BODY = 256 * 1024
# Asked many times a minute by machines.
_QUIET = frozenset({"/health", "/metrics"})


class Observed:
    """ASGI middleware around the whole application, Starlette's own error page included."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.monotonic()
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else str(uuid.uuid4())
        scope.setdefault("state", {})["request_id"] = request_id
        status: int | None = None
        received = 0

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > LARGEST_BODY:
                raise ApiError(413, "too_large", f"the body is larger than {LARGEST_BODY} bytes")
            return message

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, limited, watched)
            except Exception:
                log.exception("unexpected error", method=scope["method"], path=scope["path"])
                if status is None:
                    await internal(request_id)(scope, receive, watched)
            finally:
                seconds = time.monotonic() - started
                # The route's pattern, never the path: a label a user would grow without end.
                route = getattr(scope.get("route"), "path", "none")
                REQUESTS.labels(scope["method"], route, status or 500).inc()
                REQUEST_SECONDS.labels(scope["method"], route).observe(seconds)
                level = "debug" if route in _QUIET else "info"
                getattr(log, level)(
                    "request",
                    method=scope["method"],
                    path=scope["path"],
                    status=status or 500,
                    milliseconds=round(seconds * 1000, 1),
                )
