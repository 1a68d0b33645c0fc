"""The orchestrator in this process, on the databases and the model that the environment names."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

from chassis.client import InvalidInputError, ResponseError

from olav_client.models import Answer, Final, Health, Token

if TYPE_CHECKING:
    from chassis.database import Database
    from olav.graph.orchestrator import Orchestrator
    from olav.settings import Settings

# Whose threads they are. No user of the API can have this name.
_USERNAME = "(local)"

T = TypeVar("T")


class Local:
    """What can be done without a server. InvalidInputError when the environment, or the installation, does not do."""

    def __init__(self) -> None:
        try:
            from chassis.settings import SettingsError, load
            from olav.settings import Settings
        except ModuleNotFoundError as error:
            raise InvalidInputError(
                f"without --remote the orchestrator runs in this process, and {error.name} is not installed here:"
                " give --remote URL, or run this in olav-server's container"
            ) from error
        try:
            self._settings: Settings = load(Settings, os.environ)
        except SettingsError as error:
            raise InvalidInputError(f"without --remote the orchestrator runs in this process: {error}") from error

    def ask(self, question: str, *, thread_id: str | None = None) -> Answer:
        """The whole answer; the thread remembers it."""

        async def ask(orchestrator: Orchestrator, _database: Database) -> Answer:
            output = await orchestrator.ask(_USERNAME, *checked)
            return Answer.model_validate(output.model_dump())

        checked = _checked(question, thread_id)
        return self._run(ask)

    def stream(self, question: str, show: Callable[[Token | Final], None], *, thread_id: str | None = None) -> None:
        """Call `show` with the pieces of the answer as they come, then with the whole of it."""

        async def stream(orchestrator: Orchestrator, _database: Database) -> None:
            async for event in orchestrator.stream(_USERNAME, *checked):
                show(Final.model_validate(event) if event["type"] == "final" else Token.model_validate(event))

        checked = _checked(question, thread_id)
        self._run(stream)

    def health(self) -> Health:
        """What this process would work with."""

        async def health(orchestrator: Orchestrator, postgres: Database) -> Health:
            from chassis.health import Prober
            from olav import __version__
            from olav.database import ping
            from olav.health import OPTIONAL, OlavHealth

            prober = Prober(
                OlavHealth,
                service="local",
                version=__version__,
                environment=self._settings.environment,
                prefix="olav",
                checks={"postgres": lambda: ping(postgres), **orchestrator.checks},
                optional=OPTIONAL,
            )
            return Health.model_validate((await prober.health()).model_dump(by_alias=True))

        return self._run(health)

    def _run(self, use: Callable[[Orchestrator, Database], Awaitable[T]]) -> T:
        async def run() -> T:
            async with self._open() as opened:
                return await use(*opened)

        return asyncio.run(run())

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[tuple[Orchestrator, Database]]:
        from chassis.database import GONE
        from chassis.errors import ApiError
        from olav.database import database
        from olav.graph.orchestrator import Orchestrator

        try:
            async with (
                database(self._settings, application="olav-local", max_connections=4) as postgres,
                Orchestrator(self._settings, postgres.pool) as orchestrator,
            ):
                yield orchestrator, postgres
        except ApiError as error:
            raise ResponseError("the orchestrator", error.status_code, error.code, error.detail) from error
        except GONE as error:
            raise ResponseError(
                "the orchestrator", 503, "postgres_unavailable", "postgres cannot be reached"
            ) from error


def _checked(question: str, thread_id: str | None) -> tuple[str, str | None]:
    """Refuse what the API would refuse."""
    from olav.graph.state import THREAD_ID, Input
    from pydantic import ValidationError

    try:
        question = Input(question=question).question
    except ValidationError as error:
        raise InvalidInputError(f"the question: {error.errors(include_url=False)[0]['msg']}") from error
    if thread_id is not None and not re.fullmatch(THREAD_ID, thread_id):
        raise InvalidInputError(f"--thread {thread_id!r} must match {THREAD_ID}")
    return question, thread_id
