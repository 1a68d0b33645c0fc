"""Documents of the API. Unknown fields are ignored: a newer server may send more."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from chassis.client import Document
from pydantic import SecretStr

Role = Literal["viewer", "operator", "admin"]


class Account(Document):
    username: str
    role: Role


class Login(Document):
    """``expires_in``: seconds."""

    access_token: SecretStr
    expires_in: int
    user: Account


class SessionTimes(Document):
    created_at: datetime
    expires_at: datetime


class Me(Account):
    session: SessionTimes


class Dependency(Document):
    status: Literal["up", "down"]
    required: bool
    latency_ms: float | None
    error: str | None


class Health(Document):
    status: Literal["healthy", "degraded", "unhealthy"]
    service: str
    version: str
    environment: str
    uptime_seconds: float
    dependencies: dict[str, Dependency]


class Status(Health):
    user: Account


class Source(Document):
    id: str
    title: str
    score: float


class Answer(Document):
    """``turn``: 1 for the first question of the thread."""

    answer: str
    category: str
    documents: tuple[Source, ...]
    thread_id: str
    turn: int


class Token(Document):
    """A piece of the answer, as it came from the model."""

    type: Literal["token"] = "token"
    content: str


class Final(Document):
    """The end of a stream: the whole answer."""

    type: Literal["final"] = "final"
    output: Answer


class User(Account):
    disabled: bool
    created_at: datetime
    updated_at: datetime


class Users(Document):
    users: tuple[User, ...]
