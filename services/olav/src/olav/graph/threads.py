"""One turn of a thread at a time, over all workers: each reads what the one before it wrote.

A turn holds a session lock of PostgreSQL, on one connection a worker: it goes with the worker, however that dies.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Self
from weakref import WeakValueDictionary

import structlog
from chassis.database import GONE, Pool, Row
from chassis.errors import ApiError
from psycopg import AsyncConnection

log = structlog.get_logger("olav")

_POLL_SECONDS = 0.05
# Two-key locks of PostgreSQL: this one keeps threads apart from other uses.
_SPACE = 7_454


class Turns:
    """For one event loop; `pool` is open, and gives one connection for as long as this is. `patience_seconds`: how
    long a turn waits for those before it."""

    def __init__(self, pool: Pool, *, patience_seconds: float = 30.0) -> None:
        self._pool = pool
        self._patience_seconds = patience_seconds
        self._connection: AsyncConnection[Row] | None = None
        self._connecting = asyncio.Lock()
        # A session's locks can be taken again by the same session: within the worker it needs locks of its own.
        self._waiting: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._releases: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*self._releases)
        if self._connection is not None:
            with suppress(*GONE):
                await self._connection.execute("SELECT pg_advisory_unlock_all()")
            await self._pool.putconn(self._connection)
            self._connection = None

    @asynccontextmanager
    async def turn(self, thread: str) -> AsyncIterator[None]:
        """Raises ApiError 409 `thread_busy` when the turns before take too long, and one of GONE."""
        lock = self._waiting.setdefault(thread, asyncio.Lock())
        deadline = asyncio.get_running_loop().time() + self._patience_seconds
        try:
            async with asyncio.timeout_at(deadline):
                await lock.acquire()
        except TimeoutError:
            raise _busy() from None
        try:
            try:
                async with asyncio.timeout_at(deadline):
                    while not await self._try(thread):
                        await asyncio.sleep(_POLL_SECONDS)
            except TimeoutError:
                raise _busy() from None
            yield
        finally:
            # In a task of its own: a client that goes away cancels whatever is awaited here, again and again.
            release = asyncio.create_task(self._release(thread, lock))
            self._releases.add(release)
            release.add_done_callback(self._releases.discard)
            await asyncio.shield(release)

    async def _try(self, thread: str) -> bool:
        connection = await self._connected()
        try:
            return await _ask(connection, "pg_try_advisory_lock", thread)
        except GONE as error:
            log.info("the connection for turns is gone, connecting again", error=str(error))
            return await _ask(await self._connected(), "pg_try_advisory_lock", thread)

    async def _release(self, thread: str, lock: asyncio.Lock) -> None:
        try:
            if self._connection is not None and not self._connection.closed:
                # Also when the lock was not got after all: whether it was, a cancelled query does not say.
                with suppress(*GONE):
                    await _ask(self._connection, "pg_advisory_unlock", thread)
        finally:
            lock.release()

    async def _connected(self) -> AsyncConnection[Row]:
        async with self._connecting:
            if self._connection is not None and self._connection.closed:
                await self._pool.putconn(self._connection)
                self._connection = None
            if self._connection is None:
                self._connection = await self._pool.getconn()
            return self._connection


async def _ask(connection: AsyncConnection[Row], function: str, thread: str) -> bool:
    cursor = await connection.execute(f"SELECT {function}(%s, hashtext(%s)) AS done", (_SPACE, thread))
    row = await cursor.fetchone()
    return row is not None and bool(row["done"])


def _busy() -> ApiError:
    return ApiError(409, "thread_busy", "the thread is still busy with earlier questions, try again")
