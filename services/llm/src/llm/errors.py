"""Error bodies as OpenAI has them: `{"error": {"message", "type", "param", "code"}}`.

ApiError is chassis's; its `field` is OpenAI's `param`, and what is not one of `asked_for` has the code null.
"""

from typing import Any

from chassis.errors import ApiError
from pydantic import BaseModel

_KINDS = {
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    429: ("requests", "rate_limit_exceeded", "Rate limit reached for requests. Try again later."),
    500: ("server_error", None, "The server had an error while processing your request. Sorry about that!"),
    503: ("server_error", None, "The engine is currently overloaded, please try again later."),
}
MODEL_NOT_FOUND = "model_not_found"


class ErrorDetail(BaseModel):
    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    error: ErrorDetail


def refused(message: str, *, param: str | None = None) -> ApiError:
    """Return the 400 for a request that does not fit, which OpenAI never answers with 422."""
    return ApiError(400, "", message, field=param)


def asked_for(status: int, *, retry_after_ms: int = 0) -> ApiError:
    """Return the error that OpenAI answers with `status`."""
    headers = {}
    if status == 429:
        headers = {"retry-after": str(-(-retry_after_ms // 1000)), "retry-after-ms": str(retry_after_ms)}
    if status == 401:
        headers = {"www-authenticate": "Bearer"}
    return ApiError(status, "", _KINDS[status][2], headers=headers)


def form(error: ApiError, _request_id: str) -> dict[str, Any]:
    """Return the body of an error."""
    kind, code, message = _KINDS.get(error.status_code, ("invalid_request_error", None, error.detail))
    if error.code == MODEL_NOT_FOUND:
        code = MODEL_NOT_FOUND
    return {"error": {"message": message, "type": kind, "param": error.field, "code": code}}
