"""What can go wrong, as one tree.

OlavError
├── InvalidInputError         refused here, before anything was sent
├── UnreachableError          no answer: the connection failed or timed out
├── UnexpectedResponseError   an answer that is not in the contract
└── ResponseError             the server, or the orchestrator in this process, said no
"""

from __future__ import annotations


class OlavError(Exception):
    """Base of every error of this library."""


class InvalidInputError(OlavError):
    """A value was refused before anything was sent."""


class UnreachableError(OlavError):
    """The server gave no answer."""


class UnexpectedResponseError(OlavError):
    """The server answered something that is not in the contract."""


class ResponseError(OlavError):
    """A refusal. ``status_code``, ``code``, ``message``: the server's. ``request_id``: to be looked up in its log."""

    def __init__(self, what: str, status_code: int, code: str, message: str, request_id: str | None = None) -> None:
        trace = f" (request {request_id})" if request_id and status_code >= 500 else ""
        super().__init__(f"{what}: {status_code} {code}: {message}{trace}")
        self.status_code = status_code
        self.code = code
        self.message = message
        self.request_id = request_id
