"""What every request passes before the API sees it: key, record, and the faults that it is to meet."""

import asyncio
import hmac
from collections.abc import Mapping

import structlog
from chassis.errors import ApiError, response
from pydantic import SecretStr
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llm.behaviour import NORMAL, Behaving, Endpoint, Faults
from llm.errors import asked_for, form, refused
from llm.record import Outcome, Record, Seen, parsed

LARGEST_BODY = 1024 * 1024

_OPEN = frozenset({"/health", "/metrics", "/docs", "/redoc", "/openapi.json"})
_FAULTY: Mapping[tuple[str, str], Endpoint] = {
    ("POST", "/v1/chat/completions"): "chat",
    ("POST", "/v1/embeddings"): "embeddings",
}


class _GoneError(Exception):
    """The client went away."""


class _CutError(Exception):
    """The stream has had as many chunks as it is allowed."""


class Gate:
    """An ASGI application around the API's."""

    def __init__(self, app: ASGIApp, key: SecretStr | None, behaving: Behaving, record: Record) -> None:
        self._app = app
        self._key = key
        self._behaving = behaving
        self._record = record

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _OPEN:
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send, self._record)
        try:
            try:
                self._check_key(exchange.headers)
                await exchange.read()
                await self._meet_faults(exchange)
            except ApiError as error:
                await response(error, exchange.request_id, form)(scope, exchange.receive, exchange.send)
            else:
                await self._app(scope, exchange.receive, exchange.send)
        except (_CutError, _GoneError):
            # Returning without an end makes the server close the connection.
            return
        finally:
            exchange.end()

    def _check_key(self, headers: Headers) -> None:
        if self._key is None:
            return
        scheme, _, token = headers.get("authorization", "").partition(" ")
        given = token.strip() if scheme.lower() == "bearer" else headers.get("api-key", "")
        if not hmac.compare_digest(given.encode(), self._key.get_secret_value().encode()):
            raise asked_for(401)

    async def _meet_faults(self, exchange: "_Exchange") -> None:
        endpoint = _FAULTY.get((exchange.method, exchange.path))
        if endpoint is None:
            return
        faults = self._behaving.take(endpoint, exchange.headers)
        exchange.meet(faults)
        if faults.delay_ms:
            await exchange.pause(faults.delay_ms)
        if faults.fail_status:
            raise asked_for(faults.fail_status, retry_after_ms=faults.retry_after_ms)


class _Exchange:
    """One request and its response, as they pass by."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, record: Record) -> None:
        self.headers = Headers(scope=scope)
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.request_id: str = scope["state"]["request_id"]
        self._receive = receive
        self._send = send
        self._record = record
        self._status: int | None = None
        self._seen: Seen | None = None
        if self.path.startswith("/v1/"):
            self._seen = record.begin(self.request_id, self.method, self.path)
        self._body: bytes | None = None
        self._faults: Faults = NORMAL
        self._stream = False
        self._chunks = 0
        self._cut = False
        self._complete = False

    async def read(self) -> None:
        """The body, wholly. Raises ApiError where it is too large or not JSON."""
        body = bytearray()
        more = True
        while more:
            message = await self._received()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        self._body = bytes(body)
        if not body or self.method not in ("POST", "PUT"):
            return
        try:
            parsed(self._body)
        except ValueError as error:
            raise refused(f"the body is not JSON: {error}") from None
        if self._seen:
            self._record.keep(self._seen, self._body)

    def meet(self, faults: Faults) -> None:
        """What comes from now on meets `faults`."""
        self._faults = faults
        if self._seen:
            self._seen.faults = faults.model_dump(exclude_defaults=True)

    async def pause(self, milliseconds: int) -> None:
        """Raises _GoneError when the client does not wait."""
        try:
            async with asyncio.timeout(milliseconds / 1000):
                while True:
                    await self._received()
        except TimeoutError:
            return

    async def receive(self) -> Message:
        """The body that was read already, then what comes."""
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._stream = Headers(raw=message["headers"]).get("content-type", "").startswith("text/event-stream")
            if self._seen:
                self._seen.status = self._status
        elif self._stream and message.get("body"):
            if self._chunks == self._faults.cut_after:
                self._cut = True
                raise _CutError
            await asyncio.sleep(self._faults.chunk_delay_ms / 1000)
            self._chunks += 1
        await self._send(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self._complete = True

    def end(self) -> None:
        outcome: Outcome = "answered" if self._complete else "cut" if self._cut else "aborted"
        if self._seen:
            self._seen.outcome = outcome
        # For the log's line about the request.
        structlog.contextvars.bind_contextvars(outcome=outcome)

    async def _received(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise _GoneError
        return message
