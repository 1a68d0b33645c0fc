"""Error bodies: `{"error": {"code", "message", "request_id", "field"?, "known"?}}` for everything that goes wrong.

ApiError             what a route refuses, with its status and code
(FastAPI's own)      a request that does not fit its model, an unknown route or method
(anything else)      500: a defect; the log has it, the response has not

`install` takes another form of body for a service whose errors look like another API's.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Scope

log = structlog.get_logger()

_CODES = {400: "bad_request", 404: "not_found", 405: "method_not_allowed", 413: "too_large"}
_PARTS = frozenset({"body", "query", "path", "header", "cookie"})


class ErrorDetail(BaseModel):
    """`field`: the input to blame: a dotted path in the body, or a parameter's name. `known`: the names that exist."""

    code: str
    message: str
    request_id: str
    field: str | None = None
    known: list[str] | None = None


class ErrorBody(BaseModel):
    error: ErrorDetail


class ApiError(HTTPException):
    """A refusal, with the parts of an ErrorDetail."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        field: str | None = None,
        known: Sequence[str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, message, dict(headers or {}))
        self.code = code
        self.field = field
        self.known = known


Form = Callable[[ApiError, str], dict[str, Any]]
"""The body of an error as JSON, from the error and the request's id."""


class JsonResponse(Response):
    """JSON in ASCII: it may quote input that is not valid Unicode."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return json.dumps(content).encode()


def not_found(what: str, name: object) -> ApiError:
    return ApiError(404, "not_found", f"there is no {what} {name}")


def unavailable(service: str, *, code: str | None = None) -> ApiError:
    """Return the 503 of a service that cannot be reached. `code`: by default `<service>_unavailable`."""
    code = code or f"{service}_unavailable"
    return ApiError(503, code, f"{service} cannot be reached, try again", headers={"Retry-After": "1"})


def too_large(largest: int) -> ApiError:
    return ApiError(413, "too_large", f"the body is larger than {largest} bytes")


def documented(*statuses: int, model: type[BaseModel] = ErrorBody) -> dict[int | str, dict[str, Any]]:
    """Return what OpenAPI says about the errors of a route. Those that any route has are added by `chassis.openapi`."""
    return {status: {"model": model} for status in statuses}


def body(error: ApiError, request_id: str) -> dict[str, Any]:
    """Return the body of our own form."""
    detail: dict[str, Any] = {"code": error.code, "message": error.detail, "request_id": request_id}
    if error.field is not None:
        detail["field"] = error.field
    if error.known is not None:
        detail["known"] = list(error.known)
    return {"error": detail}


def internal() -> ApiError:
    """Return the 500 of a defect: nothing of it but where to look it up."""
    return ApiError(500, "internal", "internal error; the service's log has it under this request id")


def response(error: ApiError, request_id: str, form: Form = body) -> Response:
    return JsonResponse(form(error, request_id), error.status_code, error.headers)


def install(
    app: FastAPI, form: Form = body, *, refuses_with: int = 422, gone: Mapping[type[Exception], ApiError] | None = None
) -> None:
    """Give every error of `app` the one body.

    `refuses_with`: the status of a request that does not fit. `gone`: the refusal for a library's exception.
    """

    def handle(kind: type[Exception], told: Callable[[Any], ApiError]) -> None:
        async def answer(request: Request, error: Exception) -> Response:
            refusal = told(error)
            if refusal.status_code == 405:
                refusal.headers = {"Allow": ", ".join(_methods(app, request.scope))}
            return response(refusal, request.scope.get("state", {}).get("request_id", ""), form)

        app.add_exception_handler(kind, answer)

    handle(HTTPException, _of_http)
    handle(RequestValidationError, lambda error: of_validation(error.errors()[0], refuses_with))
    # Starlette raises it again after this response: `chassis.observe` logs it.
    handle(Exception, lambda _: internal())
    for kind, refusal in (gone or {}).items():
        handle(kind, partial(_of_gone, refusal))


def of_validation(first: Mapping[str, Any], status: int = 422) -> ApiError:
    """Return the refusal for the first of a request's validation errors."""
    if first["type"] == "json_invalid":
        return ApiError(400, "bad_request", f"the body is not JSON: {first['ctx']['error']}")
    # A path inside the body, or a parameter's name, needs no word for where that is.
    place = [str(part) for part in first["loc"]]
    field = ".".join(place[1:] if place and place[0] in _PARTS else place) or "body"
    message = first["msg"].removeprefix("Value error, ")
    return ApiError(status, "invalid_request", f"{field}: {message}", field=field)


def _of_http(error: HTTPException) -> ApiError:
    if isinstance(error, ApiError):
        return error
    if error.status_code >= 500:
        return internal()
    code = _CODES.get(error.status_code, "invalid_request")
    return ApiError(error.status_code, code, str(error.detail), headers=error.headers)


def _of_gone(refusal: ApiError, error: Exception) -> ApiError:
    # The kind alone: a message may carry addresses and users.
    log.warning("a service is gone", code=refusal.code, error=type(error).__name__)
    return refusal


def _methods(app: FastAPI, scope: Scope) -> list[str]:
    """Return the methods of all routes of a path: Starlette's own `Allow` has those of the first one alone."""
    asked = {method: {**scope, "method": method} for method in ("DELETE", "GET", "PATCH", "POST", "PUT")}
    return [name for name in asked if any(route.matches(asked[name])[0] is Match.FULL for route in app.routes)]
