"""A client of a service's HTTP API: time-outs, retries, and answers turned into models or errors.

ClientError
├── InvalidInputError         refused here, before anything was sent
├── UnreachableError          no answer: the connection failed (after retries) or timed out
├── UnexpectedResponseError   an answer that is not in the contract
└── ResponseError             the server said no
    ├── RejectedError         400, 413, 422: the request itself is wrong
    ├── NotFoundError         404
    ├── ConflictError         409
    ├── UnavailableError      503: the server cannot serve now; try again
    └── ServerError           any other 5xx: a defect of the server
"""

import ipaddress
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError

M = TypeVar("M", bound=BaseModel)

# The connection broke or was never made. A time-out while reading is not among them: the server has the request and
# is slow, and asking again would only multiply the wait.
_RETRIED = (httpx.NetworkError, httpx.RemoteProtocolError, httpx.ConnectTimeout)
_FIRST_PAUSE_SECONDS = 0.1


class Document(BaseModel):
    """Base of what an API answers. Fields that a newer server adds are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class ClientError(Exception):
    """Base of every error of a client."""


class InvalidInputError(ClientError):
    """A value was refused before anything was sent."""


class UnreachableError(ClientError):
    """The service gave no answer."""


class UnexpectedResponseError(ClientError):
    """The service answered something that is not in the contract."""


class ResponseError(ClientError):
    """The server refused a request.

    `status_code`: of the response. `code`, `message`: the server's. `field`: the input to blame, if it named one.
    `known`: names that exist, where one was not found. `request_id`: what to look up in the server's log.
    """

    def __init__(
        self,
        request: str,
        status_code: int,
        code: str,
        message: str,
        *,
        field: str | None = None,
        known: tuple[str, ...] = (),
        request_id: str | None = None,
    ) -> None:
        trace = f" (request {request_id})" if request_id and status_code >= 500 else ""
        super().__init__(f"{request} answered {status_code} {code}: {message}{trace}")
        self.status_code = status_code
        self.code = code
        self.message = message
        self.field = field
        self.known = known
        self.request_id = request_id


class RejectedError(ResponseError):
    """400, 413 or 422: the request itself is wrong."""


class NotFoundError(ResponseError):
    """404: there is no such thing."""


class ConflictError(ResponseError):
    """409: the request does not fit the state that the server is in."""


class UnavailableError(ResponseError):
    """503: the server cannot serve now; the same request may work later."""


class ServerError(ResponseError):
    """Any other 5xx: a defect of the server."""


_BY_STATUS: Mapping[int, type[ResponseError]] = {
    400: RejectedError,
    404: NotFoundError,
    409: ConflictError,
    413: RejectedError,
    422: RejectedError,
    503: UnavailableError,
}


class Client:
    """A context manager that closes its connections.

    `base_url`: `http://host:port`. `timeout_seconds`: how long the server may be silent. `retries`: further tries after
    a failed connection, each after a pause that doubles from 0.1 s; only for requests that are safe to repeat.
    `token`: sent as bearer token. `transport`: takes the place of the network in tests.
    """

    def __init__(
        self,
        base_url: str,
        *,
        timeout_seconds: float = 10.0,
        retries: int = 0,
        token: SecretStr | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.base_url = checked_url(base_url)
        self.token = token
        self.timeout_seconds = timeout_seconds
        self._retries = retries
        # A proxy of the environment cannot reach this machine's loopback, and NO_PROXY rarely names all of it.
        self._http = httpx.Client(
            base_url=self.base_url, transport=transport, trust_env=not _is_loopback(self.base_url)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; the client cannot be used afterwards."""
        self._http.close()

    def call(
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
        """Return the answer as `model`. `accepted`: statuses besides 2xx that answer with the model."""
        request = self._request(method, path, body, headers, params, timeout_seconds)
        response = self._send(request, self._retries if retries is None else retries)
        where = f"{method} {self.base_url}{path}"
        payload = _payload(response, where)
        # An accepted status may still be an error: then the body is the error's.
        answered = response.status_code in accepted and isinstance(payload, dict) and "error" not in payload
        if response.is_success or answered:
            return parsed(model, payload, where)
        raise _refusal(response, payload, where)

    def tell(self, method: str, path: str) -> None:
        """Send a request that is answered with nothing."""
        response = self._send(self._request(method, path), 0)
        if not response.is_success:
            where = f"{method} {self.base_url}{path}"
            raise _refusal(response, _payload(response, where), where)

    @contextmanager
    def streamed(self, method: str, path: str, *, body: object = None) -> Iterator[httpx.Response]:
        """Give the response while its body is still coming."""
        where = f"{method} {self.base_url}{path}"
        try:
            response = self._http.send(self._request(method, path, body), stream=True)
            try:
                if not response.is_success:
                    response.read()
                    raise _refusal(response, _payload(response, where), where)
                yield response
            finally:
                response.close()
        except httpx.RequestError as error:
            raise UnreachableError(f"no answer from {where}: {str(error) or type(error).__name__}") from error

    def _request(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, object] | None = None,
        timeout_seconds: float | None = None,
    ) -> httpx.Request:
        seconds = timeout_seconds or self.timeout_seconds
        authorization = {"Authorization": f"Bearer {self.token.get_secret_value()}"} if self.token else {}
        return self._http.build_request(
            method,
            path,
            params={name: str(value) for name, value in (params or {}).items() if value is not None},
            json=body,
            headers={**authorization, **(headers or {})},
            timeout=httpx.Timeout(seconds, connect=min(seconds, 5.0)),
        )

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
    """Return the URL without a slash at its end; raise InvalidInputError for one that cannot be called."""
    try:
        parts = httpx.URL(url)
    except (httpx.InvalidURL, TypeError) as error:
        raise InvalidInputError(f"{url!r} is no URL: {error}; give one like http://localhost:8080") from error
    if parts.scheme not in ("http", "https") or not parts.host or parts.query or parts.fragment:
        raise InvalidInputError(f"{url!r} is no base URL of a service; give one like http://localhost:8080")
    return url.rstrip("/")


def segment(name: str, value: object) -> str:
    """Return a value as one segment of a path; raise InvalidInputError where that would be another route."""
    text = str(value)
    if text.strip(". ") == "":
        raise InvalidInputError(f"{name}: {text!r} is no id")
    return quote(text, safe="")


def parsed(model: type[M], payload: object, where: str) -> M:
    """Return a payload as `model`; raise UnexpectedResponseError where it does not fit."""
    try:
        return model.model_validate(payload)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "the document"
        raise UnexpectedResponseError(
            f"{where} answered a {model.__name__} that is not in the contract: {field}: {first['msg']}"
        ) from error


def refusal_of(where: str, status: int, detail: Mapping[str, Any]) -> ResponseError:
    """Return the error for `status` and what an error's body says."""
    kind = _BY_STATUS.get(status, ServerError if status >= 500 else ResponseError)
    field, request_id = detail.get("field"), detail.get("request_id")
    return kind(
        where,
        status,
        str(detail.get("code", "unknown")),
        str(detail.get("message", "no reason given")),
        field=None if field is None else str(field),
        known=tuple(str(name) for name in detail.get("known") or ()),
        request_id=None if request_id is None else str(request_id),
    )


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


def _refusal(response: httpx.Response, payload: object, where: str) -> ClientError:
    status = response.status_code
    if not response.is_error:
        return UnexpectedResponseError(f"{where} answered {status}, which is not in the contract")
    detail = payload.get("error") if isinstance(payload, dict) else None
    # Not our server's: a proxy or a gateway in between.
    return refusal_of(
        where,
        status,
        detail if isinstance(detail, dict) else {"message": response.text[:200] or response.reason_phrase},
    )
