"""The API: requests, and answers turned into models or errors."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, SecretStr, TypeAdapter, ValidationError

from olav_client.errors import InvalidInputError, ResponseError, UnexpectedResponseError, UnreachableError
from olav_client.models import Answer, Document, Final, Health, Login, Me, Status, Token, User, Users

M = TypeVar("M", bound=BaseModel)

_EVENT: TypeAdapter[Token | Final] = TypeAdapter(Token | Final)


class _Invoked(Document):
    output: Answer


class Remote:
    """A context manager that closes its connections.

    ``base_url``: ``http://host:port``. ``token``: of a login; without one only ``health`` and ``login`` work.
    ``timeout_seconds``: how long the server may be silent. ``transport``: takes the place of the network in tests.
    """

    def __init__(
        self,
        base_url: str,
        *,
        token: SecretStr | None = None,
        timeout_seconds: float = 60.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.base_url = checked_url(base_url)
        self.token = token
        # A proxy of the environment cannot reach this machine's loopback, and NO_PROXY rarely names all of it.
        self._http = httpx.Client(
            base_url=self.base_url,
            timeout=httpx.Timeout(timeout_seconds, connect=min(timeout_seconds, 5.0)),
            transport=transport,
            trust_env=not _is_loopback(self.base_url),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def login(self, username: str, password: SecretStr) -> Login:
        """Log in, and use the token from now on."""
        login = self._call(
            Login, "POST", "/auth/login", {"username": username, "password": password.get_secret_value()}
        )
        self.token = login.access_token
        return login

    def logout(self) -> None:
        """End the session of the token."""
        self._request("POST", "/auth/logout", None)

    def me(self) -> Me:
        return self._call(Me, "GET", "/me")

    def health(self) -> Health:
        """The health document, also when the server is not healthy."""
        response = self._send("GET", "/health", None)
        if response.status_code == 503:
            return _parsed(Health, _payload(response), self._where("GET", "/health"))
        return _parsed(Health, self._checked(response, "GET", "/health"), self._where("GET", "/health"))

    def status(self) -> Status:
        return self._call(Status, "GET", "/status")

    def ask(self, question: str, *, thread_id: str | None = None) -> Answer:
        """The whole answer; the thread remembers it."""
        return self._call(_Invoked, "POST", "/orchestrator/invoke", _question(question, thread_id)).output

    def stream(self, question: str, *, thread_id: str | None = None) -> Iterator[Token | Final]:
        """Pieces of the answer as they come, then the whole of it."""
        path = "/orchestrator/stream"
        where = self._where("POST", path)
        with self._reachable(where):
            request = self._http.build_request(
                "POST", path, json=_question(question, thread_id), headers=self._headers()
            )
            response = self._http.send(request, stream=True)
            try:
                if response.is_error:
                    response.read()
                    self._checked(response, "POST", path)
                for name, data in _events(response.iter_lines()):
                    if name == "error":
                        raise _refusal(where, data if isinstance(data, dict) else {}, response.status_code)
                    if name == "end":
                        return
                    if name == "data":
                        yield _event(data, where)
            finally:
                response.close()
        raise UnexpectedResponseError(f"{where}: the stream ended before the answer was whole")

    def users(self) -> tuple[User, ...]:
        return self._call(Users, "GET", "/users").users

    def create_user(self, username: str, role: str, password: SecretStr) -> User:
        body = {"username": username, "role": role, "password": password.get_secret_value()}
        return self._call(User, "POST", "/users", body)

    def change_user(
        self,
        username: str,
        *,
        role: str | None = None,
        disabled: bool | None = None,
        password: SecretStr | None = None,
    ) -> User:
        """Change what is not None; ends all of the user's sessions."""
        given = {"role": role, "disabled": disabled, "password": password.get_secret_value() if password else None}
        body = {name: value for name, value in given.items() if value is not None}
        return self._call(User, "PATCH", f"/users/{quote(username, safe='')}", body)

    def _call(self, model: type[M], method: str, path: str, body: object = None) -> M:
        return _parsed(model, self._request(method, path, body), self._where(method, path))

    def _request(self, method: str, path: str, body: object) -> Any:
        return self._checked(self._send(method, path, body), method, path)

    def _send(self, method: str, path: str, body: object) -> httpx.Response:
        with self._reachable(self._where(method, path)):
            return self._http.request(method, path, json=body, headers=self._headers())

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token.get_secret_value()}"} if self.token else {}

    def _where(self, method: str, path: str) -> str:
        return f"{method} {self.base_url}{path}"

    @contextmanager
    def _reachable(self, where: str) -> Iterator[None]:
        try:
            yield
        except httpx.RequestError as error:
            raise UnreachableError(f"{where}: no answer: {str(error) or type(error).__name__}") from error

    def _checked(self, response: httpx.Response, method: str, path: str) -> Any:
        where = self._where(method, path)
        payload = _payload(response)
        if response.is_error:
            detail = payload.get("error") if isinstance(payload, dict) else None
            raise _refusal(where, detail if isinstance(detail, dict) else {}, response.status_code)
        if not response.is_success:
            raise UnexpectedResponseError(f"{where} answered {response.status_code}, which is not in the contract")
        return payload


def checked_url(url: str) -> str:
    """The URL without a slash at its end; InvalidInputError when it is not one that can be called."""
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError) as error:
        raise InvalidInputError(f"{url!r} is no URL: {error}; give one like http://localhost:8000") from error
    if parsed.scheme not in ("http", "https") or not parsed.host or parsed.query or parsed.fragment:
        raise InvalidInputError(f"{url!r} is no base URL of a server; give one like http://localhost:8000")
    return url.rstrip("/")


def _is_loopback(url: str) -> bool:
    host = httpx.URL(url).host
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _question(question: str, thread_id: str | None) -> dict[str, object]:
    config = {"configurable": {"thread_id": thread_id}} if thread_id else {}
    return {"input": {"question": question}, "config": config}


def _events(lines: Iterator[str]) -> Iterator[tuple[str, object]]:
    """Server-sent events as pairs of name and parsed data; comments, which keep the connection alive, are left out."""
    name, data = "message", list[str]()
    for line in lines:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if line == "":
            if data or name != "message":
                yield name, _json("\n".join(data))
            name, data = "message", []
        elif field == "event":
            name = value
        elif field == "data":
            data.append(value)


def _event(data: object, where: str) -> Token | Final:
    try:
        return _EVENT.validate_python(data)
    except ValidationError as error:
        raise UnexpectedResponseError(f"{where} sent an event that is not in the contract: {data!r:.200}") from error


def _payload(response: httpx.Response) -> Any:
    return _json(response.text)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _parsed(model: type[M], payload: object, where: str) -> M:
    try:
        return model.model_validate(payload)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "the document"
        raise UnexpectedResponseError(
            f"{where} answered something that is not in the contract: {field}: {first['msg']}"
        ) from error


def _refusal(where: str, detail: dict[str, object], status: int) -> ResponseError:
    code = detail.get("status_code", status)
    request_id = detail.get("request_id")
    return ResponseError(
        where,
        code if isinstance(code, int) else status,
        str(detail.get("code", "unknown")),
        str(detail.get("message", "no olav server answers here")),
        None if request_id is None else str(request_id),
    )
