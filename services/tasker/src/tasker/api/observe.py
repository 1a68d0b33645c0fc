"""What every request passes: the limit of its body, and the counters of /metrics."""

import time

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tasker.api.errors import ApiError

LARGEST_BODY = 256 * 1024


class Observed:
    """ASGI middleware around an application."""

    def __init__(self, app: ASGIApp, registry: CollectorRegistry) -> None:
        self._app = app
        self._requests = Counter(
            "tasker_http_requests", "Requests answered.", ("method", "route", "status"), registry=registry
        )
        self._seconds = Histogram(
            "tasker_http_request_seconds", "Time to the end of the response.", ("method", "route"), registry=registry
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.monotonic()
        status = 500
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
            await send(message)

        try:
            await self._app(scope, limited, watched)
        finally:
            # The route's pattern, never the path: a label a task would grow without end.
            route = getattr(scope.get("route"), "path", "none")
            self._requests.labels(scope["method"], route, status).inc()
            self._seconds.labels(scope["method"], route).observe(time.monotonic() - started)


def exposition(registry: CollectorRegistry) -> Response:
    """All of `registry` in Prometheus's text format."""
    return Response(generate_latest(registry), media_type="text/plain; version=0.0.4; charset=utf-8")
