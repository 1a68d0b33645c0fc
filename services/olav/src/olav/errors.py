"""Error bodies: `{"error": {"code", "message", "request_id", "field"?}}` for everything that goes wrong.

ApiError             what is refused, with its status and code
(FastAPI's own)      a request that does not fit its model, an unknown route or method
(LangServe's)        the same, with places that begin inside the body
(PostgreSQL's)       503: the database cannot be reached
(Redis's)            503: likewise
(anything else)      500: a defect; the log has it, the response has not
"""

import json
from collections.abc import Mapping
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from redis import RedisError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from olav.database import GONE

log = structlog.get_logger("olav")


class ErrorDetail(BaseModel):
    code: str
    message: str
    request_id: str
    field: str | None = None


class ErrorBody(BaseModel):
    error: ErrorDetail


class ApiError(HTTPException):
    """A refusal. `field`: the input to blame."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        field: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, message, dict(headers) if headers else None)
        self.code = code
        self.field = field


def unavailable(service: str) -> ApiError:
    """The 503 of a service that cannot be reached: postgres, redis, opensearch."""
    return ApiError(
        503, f"{service}_unavailable", f"{service} cannot be reached, try again", headers={"Retry-After": "1"}
    )


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says about the errors of a route."""
    return {status: {"model": ErrorBody} for status in statuses}


def install(app: FastAPI) -> None:
    """Give every error of `app` the one body."""
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_bad_request)
    for error in GONE:
        app.add_exception_handler(error, _on_database_gone)
    app.add_exception_handler(RedisError, _on_redis_gone)
    app.add_exception_handler(Exception, _on_defect)


def body(
    request_id: str,
    status: int,
    code: str,
    message: str,
    *,
    field: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The response that tells of an error."""
    error = {"code": code, "message": message, "request_id": request_id}
    if field is not None:
        error["field"] = field
    # Escaped to ASCII: a message may quote input that is no valid Unicode.
    return Response(json.dumps({"error": error}), status, headers, "application/json")


def internal(request_id: str) -> Response:
    """The 500 of a defect: nothing of it but where to look it up."""
    return body(request_id, 500, "internal", "internal error; the server's log has it under this request id")


_PARTS = frozenset({"body", "query", "path", "header", "cookie"})
_LANGSERVE_FIELDS = frozenset({"input", "inputs", "config", "kwargs"})
_CODES = {400: "bad_request", 404: "not_found", 405: "method_not_allowed", 413: "too_large", 422: "invalid_request"}


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  registered for nothing else
    request_id: str = request.state.request_id
    if isinstance(error, ApiError):
        return body(request_id, error.status_code, error.code, error.detail, field=error.field, headers=error.headers)
    if error.status_code >= 500:
        return internal(request_id)
    code = _CODES.get(error.status_code, "invalid_request")
    return body(request_id, error.status_code, code, str(error.detail), headers=error.headers)


async def _on_bad_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101  registered for nothing else
    request_id: str = request.state.request_id
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return body(request_id, 400, "bad_request", f"the body is not JSON: {first['ctx']['error']}")
    place = list(map(str, first["loc"]))
    if place and place[0] in _PARTS:
        # A path inside the body, or a parameter's name, needs no word for where that is.
        place = place[1:]
    elif place and place[0] not in _LANGSERVE_FIELDS:
        # LangServe tells of the input's own fields as if they were the body's.
        place = ["input", *place]
    field = ".".join(place) or "body"
    return body(request_id, 422, "invalid_request", f"{field}: {first['msg']}", field=field)


async def _on_database_gone(request: Request, error: Exception) -> Response:
    log.warning("PostgreSQL cannot be reached", error=type(error).__name__)
    return await _on_http_exception(request, unavailable("postgres"))


async def _on_redis_gone(request: Request, error: Exception) -> Response:
    log.warning("Redis cannot be reached", error=type(error).__name__)
    return await _on_http_exception(request, unavailable("redis"))


async def _on_defect(request: Request, _error: Exception) -> Response:
    # Starlette raises it again after this response: `olav.observe` logs it.
    return internal(request.state.request_id)
