"""What every request passes: its id, the limit of its body, metrics, a line in the log, the answer to a defect."""

import re
import time
import uuid

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chassis import errors, metrics

log = structlog.get_logger()

LARGEST_BODY = 256 * 1024
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
# Asked many times a minute by machines.
_QUIET = frozenset({"/health", "/metrics"})


class Observed:
    """ASGI middleware around the whole application, Starlette's own error page included."""

    def __init__(self, app: ASGIApp, *, prefix: str, largest_body: int, form: errors.Form) -> None:
        self._app = app
        self._metrics = metrics.http(prefix)
        self._largest_body = largest_body
        self._form = form

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
            if received > self._largest_body:
                raise errors.too_large(self._largest_body)
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
                    await errors.response(errors.internal(), request_id, self._form)(scope, receive, watched)
            finally:
                seconds = time.monotonic() - started
                # The route's pattern, never the path: a label a user would grow without end.
                route = getattr(scope.get("route"), "path", "none")
                self._metrics.requests.labels(scope["method"], route, status or 500).inc()
                self._metrics.seconds.labels(scope["method"], route).observe(seconds)
                level = "debug" if route in _QUIET else "info"
                getattr(log, level)(
                    "request",
                    method=scope["method"],
                    path=scope["path"],
                    status=status or 500,
                    milliseconds=round(seconds * 1000, 1),
                )
