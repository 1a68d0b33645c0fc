"""What a step's code is given, and how it says that it failed."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from chassis.database import Connection, Database


class StepError(Exception):
    """The step failed for a reason that its code knows. `retry=False`: another attempt would fail just the same."""

    def __init__(self, code: str, message: str, *, retry: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.retry = retry


@dataclass(frozen=True, kw_only=True)
class Call:
    """One attempt. `input`: the parents' results by name, or the context for a step without parents.

    `connection` is in the transaction that also keeps the result: what a handler writes there happens exactly once,
    with the result, or not at all. `database` is for what another system would do: it stays when the attempt is lost.
    """

    task_uuid: UUID
    step: str
    input: Mapping[str, Any]
    context: Mapping[str, Any]
    connection: Connection
    database: Database


Handler = Callable[[Call], Awaitable[Any]]
