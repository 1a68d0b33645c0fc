"""What can go wrong, as one tree.

TaskerError
├── InvalidInputError         refused here, before anything was sent
├── UnreachableError          no answer: connection failed (after retries) or timed out
├── UnexpectedResponseError   an answer that is not in the contract
├── WaitTimeoutError          a task was not finished by the deadline; carries the task as it was last seen
└── ResponseError             the server said no; carries status_code, code, message, field, known
    ├── RejectedError         400, 413, 422: the request itself is wrong
    ├── NotFoundError         404
    ├── ConflictError         409
    ├── UnavailableError      503: the server cannot serve now; try again
    └── ServerError           any other 5xx: a defect of the server
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasker_client.models import Task


class TaskerError(Exception):
    """Base of every error of this library."""


class InvalidInputError(TaskerError):
    """A value was refused before anything was sent."""


class UnreachableError(TaskerError):
    """The service gave no answer."""


class UnexpectedResponseError(TaskerError):
    """The service answered something that is not in the contract."""


class WaitTimeoutError(TaskerError):
    """A task was not finished by the deadline. ``task``: as it was last seen, None when it never was."""

    def __init__(self, message: str, task: Task | None) -> None:
        super().__init__(message)
        self.task = task


class ResponseError(TaskerError):
    """The server refused a request.

    ``status_code``: of the response. ``code``, ``message``: the server's. ``field``: the input to blame, if it named
    one. ``known``: names that exist, where one was not found.
    """

    def __init__(
        self, request: str, status_code: int, code: str, message: str, field: str | None, known: tuple[str, ...]
    ) -> None:
        super().__init__(f"{request} answered {status_code} {code}: {message}")
        self.status_code = status_code
        self.code = code
        self.message = message
        self.field = field
        self.known = known


class RejectedError(ResponseError):
    """400, 413 or 422: the request itself is wrong."""


class NotFoundError(ResponseError):
    """404: no such task, worker, namespace or template."""


class ConflictError(ResponseError):
    """409: the request does not fit the state that the server is in."""


class UnavailableError(ResponseError):
    """503: the server cannot serve now; the same request may work later."""


class ServerError(ResponseError):
    """Any other 5xx: a defect of the server."""
