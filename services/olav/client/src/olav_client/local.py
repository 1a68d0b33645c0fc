"""The orchestrator in this process, on the databases and the model that the environment names."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

from olav_client.errors import InvalidInputError, ResponseError
from olav_client.models import Answer, Final, Health, Token

if TYPE_CHECKING:
    from olav.database import Pool
    from olav.graph.orchestrator import Orchestrator
    from olav.settings import Settings

# Whose threads they are. No user of the API can have this name.
_USERNAME = "(local)"

T = TypeVar("T")


class Local:
    """What can be done without a server. InvalidInputError when the environment, or the installation, does not do."""

    def __init__(self) -> None:
        try:
            from olav.settings import Settings, SettingsError, load
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

        async def ask(orchestrator: Orchestrator, _pool: Pool) -> Answer:
            output = await orchestrator.ask(_USERNAME, *checked)
            return Answer.model_validate(output.model_dump())

        checked = _checked(question, thread_id)
        return self._run(ask)

    def stream(self, question: str, show: Callable[[Token | Final], None], *, thread_id: str | None = None) -> None:
        """Call `show` with the pieces of the answer as they come, then with the whole of it."""

        async def stream(orchestrator: Orchestrator, _pool: Pool) -> None:
            async for event in orchestrator.stream(_USERNAME, *checked):
                show(Final.model_validate(event) if event["type"] == "final" else Token.model_validate(event))

        checked = _checked(question, thread_id)
        self._run(stream)

    def health(self) -> Health:
        """What this process would work with."""

        async def health(orchestrator: Orchestrator, pool: Pool) -> Health:
            from olav.database import ping
            from olav.health import Prober

            prober = Prober(self._settings.environment, {"postgres": lambda: ping(pool), **orchestrator.checks})
            return Health.model_validate((await prober.health()).model_dump() | {"service": "local"})

        return self._run(health)

    def _run(self, use: Callable[[Orchestrator, Pool], Awaitable[T]]) -> T:
        async def run() -> T:
            async with self._open() as opened:
                return await use(*opened)

        return asyncio.run(run())

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[tuple[Orchestrator, Pool]]:
        from olav.database import GONE, open_pool
        from olav.errors import ApiError
        from olav.graph.orchestrator import Orchestrator

        pool = open_pool(self._settings, application="olav-local", max_connections=4)
        try:
            await pool.open(wait=False)
            try:
                async with Orchestrator(self._settings, pool) as orchestrator:
                    yield orchestrator, pool
            finally:
                await pool.close()
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
