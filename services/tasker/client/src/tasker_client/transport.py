"""One service's HTTP API: time-outs, retries, and answers turned into models or errors."""

from __future__ import annotations

import ipaddress
import json
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from tasker_client.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    RejectedError,
    ResponseError,
    ServerError,
    UnavailableError,
    UnexpectedResponseError,
    UnreachableError,
)

M = TypeVar("M", bound=BaseModel)

# The connection broke or was never made. A time-out while reading is not among them: the server has the request and
# is slow, and asking again would only multiply the wait.
_RETRIED = (httpx.NetworkError, httpx.RemoteProtocolError, httpx.ConnectTimeout)
_FIRST_PAUSE_SECONDS = 0.1
_BY_STATUS: Mapping[int, type[ResponseError]] = {
    400: RejectedError,
    404: NotFoundError,
    409: ConflictError,
    413: RejectedError,
    422: RejectedError,
    503: UnavailableError,
}


class Client:
    """Base of the two clients; a context manager that closes its connections.

    ``base_url``: ``http://host:port``. ``timeout_seconds``: of each request. ``retries``: further tries after a failed
    connection, each after a pause that doubles from 0.1 s. ``transport``: takes the place of the network in tests.
    """

    def __init__(
        self,
        base_url: str,
        *,
        timeout_seconds: float = 10.0,
        retries: int = 3,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.base_url = checked_url(base_url)
        self._timeout = timeout_seconds
        self._retries = retries
        # A proxy of the environment cannot reach this machine's loopback, and NO_PROXY rarely names all of it.
        self._http = httpx.Client(
            base_url=self.base_url,
            headers={"Accept": "application/json"},
            transport=transport,
            trust_env=not _is_loopback(self.base_url),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; the client cannot be used afterwards."""
        self._http.close()

    def _call(
        self,
        model: type[M],
        method: str,
        path: str,
        *,
        params: Mapping[str, object] | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        accepted: tuple[int, ...] = (),
        timeout_seconds: float | None = None,
        retries: int | None = None,
    ) -> M:
        """Send a request that is safe to repeat; ``accepted``: statuses besides 2xx that answer with the model."""
        request = self._http.build_request(
            method,
            path,
            params={name: str(value) for name, value in (params or {}).items() if value is not None},
            json=body,
            headers=headers,
            timeout=self._timeout if timeout_seconds is None else timeout_seconds,
        )
        response = self._send(request, self._retries if retries is None else retries)
        where = f"{method} {self.base_url}{path}"
        payload = _payload(response, where)
        # An accepted status may still be an error: then the body is the error's.
        answered = response.status_code in accepted and isinstance(payload, dict) and "error" not in payload
        if response.is_success or answered:
            return _parsed(model, payload, where)
        raise _refusal(response, payload, where)

    def _send(self, request: httpx.Request, retries: int) -> httpx.Response:
        failures = 0
        while True:
            try:
                return self._http.send(request)
            except httpx.RequestError as error:
                failures += 1
                if failures > retries or not isinstance(error, _RETRIED):
                    tried = f" after {failures} tries" if failures > 1 else ""
                    reason = str(error) or type(error).__name__
                    raise UnreachableError(f"no answer from {request.url}{tried}: {reason}") from error
            time.sleep(_FIRST_PAUSE_SECONDS * 2 ** (failures - 1))


def checked_url(url: str) -> str:
    """The URL without a slash at its end; InvalidInputError when it is not one that can be called."""
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError) as error:
        raise InvalidInputError(f"{url!r} is no URL: {error}; give one like http://localhost:8080") from error
    if parsed.scheme not in ("http", "https") or not parsed.host or parsed.query or parsed.fragment:
        raise InvalidInputError(f"{url!r} is no base URL of a service; give one like http://localhost:8080")
    return url.rstrip("/")


def segment(name: str, value: object) -> str:
    """A value as one segment of a path; InvalidInputError when it is empty, as that would be another route."""
    text = str(value)
    if text.strip(". ") == "":
        raise InvalidInputError(f"{name}: {text!r} is no id")
    return quote(text, safe="")


def _is_loopback(url: str) -> bool:
    host = httpx.URL(url).host
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _payload(response: httpx.Response, where: str) -> Any:
    try:
        return json.loads(response.content)
    except ValueError as error:
        if response.is_error:
            return None
        raise UnexpectedResponseError(
            f"{where} answered {response.status_code} with something that is not JSON: {response.text[:200]!r}"
        ) from error


def _parsed(model: type[M], payload: object, where: str) -> M:
    try:
        return model.model_validate(payload)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "the document"
        raise UnexpectedResponseError(
            f"{where} answered a {model.__name__} that is not in the contract: {field}: {first['msg']}"
        ) from error


def _refusal(response: httpx.Response, payload: object, where: str) -> ResponseError | UnexpectedResponseError:
    status = response.status_code
    if not response.is_error:
        return UnexpectedResponseError(f"{where} answered {status}, which is not in the contract")
    kind = _BY_STATUS.get(status, ServerError if status >= 500 else ResponseError)
    detail = payload.get("error") if isinstance(payload, dict) else None
    if not isinstance(detail, dict):
        # Not our server's: a proxy or a gateway in between.
        return kind(where, status, "unknown", response.text[:200] or response.reason_phrase, None, ())
    field = detail.get("field")
    return kind(
        where,
        status,
        str(detail.get("code", "unknown")),
        str(detail.get("message", response.reason_phrase)),
        None if field is None else str(field),
        tuple(str(name) for name in detail.get("known") or ()),
    )
