"""Error bodies as OpenAI has them, for everything that goes wrong.

ApiError         what the double refuses, with its status, type and code
(FastAPI's own)  400: a request that does not fit its model; 404, 405: an unknown route or method
(anything else)  500: a defect; the log has it, the response has not
"""

import json
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

_KINDS = {
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    429: ("requests", "rate_limit_exceeded", "Rate limit reached for requests. Try again later."),
    500: ("server_error", None, "The server had an error while processing your request. Sorry about that!"),
    503: ("server_error", None, "The engine is currently overloaded, please try again later."),
}


class Json(Response):
    """Escaped to ASCII: it may quote input that is no valid Unicode."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return json.dumps(content).encode()


class ApiError(HTTPException):
    """A refusal. `param`: the input to blame."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, message, dict(headers or {}))
        self.kind = kind
        self.code = code
        self.param = param

    def response(self) -> Response:
        error = {"message": self.detail, "type": self.kind, "param": self.param, "code": self.code}
        return Json({"error": error}, self.status_code, self.headers)


def asked_for(status: int, *, retry_after_ms: int = 0) -> ApiError:
    """The error that OpenAI answers with `status`."""
    kind, code, message = _KINDS[status]
    headers = {}
    if status == 429:
        headers = {"retry-after": str(-(-retry_after_ms // 1000)), "retry-after-ms": str(retry_after_ms)}
    if status == 401:
        headers = {"www-authenticate": "Bearer"}
    return ApiError(status, message, kind=kind, code=code, headers=headers)


def install(app: FastAPI) -> None:
    """Give every error of `app` the one body."""
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_bad_request)
    app.add_exception_handler(Exception, _on_defect)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  registered for nothing else
    if not isinstance(error, ApiError):
        asked = f"{request.method} {request.url.path}"
        message = {404: f"Invalid URL ({asked})", 405: f"Not allowed: {asked}"}.get(error.status_code, error.detail)
        error = ApiError(error.status_code, message, headers=error.headers)
    return error.response()


async def _on_bad_request(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101  registered for nothing else
    first = error.errors()[0]
    # The first part says where (body, query, path); a path inside the body needs no such word.
    param = ".".join(map(str, first["loc"][1:])) or "body"
    return ApiError(400, f"{param}: {first['msg'].removeprefix('Value error, ')}", param=param).response()


async def _on_defect(_request: Request, _error: Exception) -> Response:
    # Starlette raises it again after this response, so that uvicorn logs it.
    return asked_for(500).response()
