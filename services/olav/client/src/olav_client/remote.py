"""The API of the server."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
from chassis.client import Client, Document, UnexpectedResponseError, refusal_of, segment
from pydantic import SecretStr, TypeAdapter, ValidationError

from olav_client.models import Answer, Final, Health, Login, Me, Status, Token, User, Users

_EVENT: TypeAdapter[Token | Final] = TypeAdapter(Token | Final)


class _Invoked(Document):
    output: Answer


class Remote(Client):
    """A client of the server: see ``chassis.client.Client`` for the errors.

    ``token``: of a login; without one only ``health`` and ``login`` work. ``timeout_seconds``: how long the server may
    be silent.
    """

    def __init__(
        self,
        base_url: str,
        *,
        token: SecretStr | None = None,
        timeout_seconds: float = 60.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        super().__init__(base_url, token=token, timeout_seconds=timeout_seconds, transport=transport)

    def login(self, username: str, password: SecretStr) -> Login:
        """Log in, and use the token from now on."""
        body = {"username": username, "password": password.get_secret_value()}
        login = self.call(Login, "POST", "/auth/login", body=body)
        self.token = login.access_token
        return login

    def logout(self) -> None:
        """End the session of the token."""
        self.tell("POST", "/auth/logout")

    def me(self) -> Me:
        return self.call(Me, "GET", "/me")

    def health(self) -> Health:
        """The health document, also when the server is not healthy."""
        return self.call(Health, "GET", "/health", accepted=(503,))

    def status(self) -> Status:
        return self.call(Status, "GET", "/status")

    def ask(self, question: str, *, thread_id: str | None = None) -> Answer:
        """The whole answer; the thread remembers it."""
        return self.call(_Invoked, "POST", "/orchestrator/invoke", body=_question(question, thread_id)).output

    def stream(self, question: str, *, thread_id: str | None = None) -> Iterator[Token | Final]:
        """Pieces of the answer as they come, then the whole of it."""
        path = "/orchestrator/stream"
        where = f"POST {self.base_url}{path}"
        with self.streamed("POST", path, body=_question(question, thread_id)) as response:
            for name, data in _events(response.iter_lines()):
                if name == "error":
                    detail = data if isinstance(data, dict) else {}
                    raise refusal_of(where, int(detail.get("status_code", 500)), detail)
                if name == "end":
                    return
                if name == "data":
                    yield _event(data, where)
        raise UnexpectedResponseError(f"{where}: the stream ended before the answer was whole")

    def users(self) -> tuple[User, ...]:
        return self.call(Users, "GET", "/users").users

    def create_user(self, username: str, role: str, password: SecretStr) -> User:
        body = {"username": username, "role": role, "password": password.get_secret_value()}
        return self.call(User, "POST", "/users", body=body)

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
        return self.call(User, "PATCH", f"/users/{segment('username', username)}", body=body)


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


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None
