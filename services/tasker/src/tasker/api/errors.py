"""Error bodies: `{"error": {"code", "message", "field"?, "known"?}}` for everything that goes wrong.

ApiError             what a route refuses, with its status and code
(FastAPI's own)      a request that does not fit its model, an unknown route or method
(PostgreSQL's)       503: the database is gone for a moment
(anything else)      500: a defect; the log has it, the response has not
"""

import json
from collections.abc import Sequence
from typing import Any

import psycopg
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import Response

log = structlog.get_logger()


class ErrorDetail(BaseModel):
    code: str
    message: str
    field: str | None = None
    known: list[str] | None = None


class ErrorBody(BaseModel):
    error: ErrorDetail


class ApiError(HTTPException):
    """A refusal. `field`: the input to blame; `known`: the names that exist."""

    def __init__(
        self, status: int, code: str, message: str, *, field: str | None = None, known: Sequence[str] | None = None
    ) -> None:
        super().__init__(status, message)
        self.code = code
        self.field = field
        self.known = known


def not_found(what: str, name: object) -> ApiError:
    return ApiError(404, "not_found", f"there is no {what} {name}")


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says about the errors of a route."""
    return {status: {"model": ErrorBody} for status in (*statuses, 503)}


def install(app: FastAPI) -> None:
    """Give every error of `app` the one body."""
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_bad_request)
    app.add_exception_handler(psycopg.OperationalError, _on_database_gone)
    app.add_exception_handler(psycopg.InterfaceError, _on_database_gone)
    app.add_exception_handler(Exception, _on_defect)


def _body(
    status: int,
    code: str,
    message: str,
    *,
    field: str | None = None,
    known: Sequence[str] | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    error: dict[str, object] = {"code": code, "message": message}
    if field is not None:
        error["field"] = field
    if known is not None:
        error["known"] = list(known)
    # Escaped to ASCII: a message may quote input that is no valid Unicode.
    return Response(json.dumps({"error": error}), status, headers, "application/json")


async def _on_http_exception(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  registered for nothing else
    if isinstance(error, ApiError):
        return _body(error.status_code, error.code, error.detail, field=error.field, known=error.known)
    code = {400: "bad_request", 404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "invalid_request")
    return _body(error.status_code, code, error.detail, headers=dict(error.headers or {}))


async def _on_bad_request(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101  registered for nothing else
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return _body(400, "bad_request", f"the body is not JSON: {first['ctx']['error']}")
    # The first part says where (body, query, path, header); a path inside the body needs no such word.
    field = ".".join(map(str, first["loc"][1:])) or "body"
    return _body(422, "invalid_request", f"{field}: {first['msg']}", field=field)


async def _on_database_gone(request: Request, error: Exception) -> Response:
    log.warning("database is gone", path=request.url.path, error=str(error))
    return _body(503, "unavailable", "PostgreSQL cannot be reached, try again", headers={"Retry-After": "1"})


async def _on_defect(_request: Request, _error: Exception) -> Response:
    # Starlette raises it again after this response, so that uvicorn logs it.
    return _body(500, "internal", "internal error, see the service's log")
