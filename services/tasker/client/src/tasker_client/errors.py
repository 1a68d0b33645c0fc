"""What can go wrong besides what `chassis.client` draws: waiting in vain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chassis.client import ClientError

if TYPE_CHECKING:
    from tasker_client.models import Task


class WaitTimeoutError(ClientError):
    """A task was not finished by the deadline. ``task``: as it was last seen, None when it never was."""

    def __init__(self, message: str, task: Task | None) -> None:
        super().__init__(message)
        self.task = task
