"""The way to PostgreSQL: a pool that survives a restart of the server, and connections that listen."""

import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from psycopg import AsyncConnection, sql
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

Row = dict[str, Any]
Connection = AsyncConnection[Row]

# What a server that restarts, a cut network or an exhausted pool raises: worth another try, never a crash.
GONE = (psycopg.OperationalError, psycopg.InterfaceError)

# The keepalives find a peer that vanished without a word; the time-outs keep one stuck client from holding rows for
# ever.
_CONNECT: dict[str, Any] = {
    "connect_timeout": 3,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "options": "-c statement_timeout=15s -c idle_in_transaction_session_timeout=60s -c timezone=UTC",
    "row_factory": dict_row,
}


class Database:
    """`url` is a libpq connection URL. Nothing is opened before `open`."""

    def __init__(self, url: str, *, application: str, max_connections: int) -> None:
        self._url = url
        self._application = application
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            url,
            connection_class=AsyncConnection[Row],
            kwargs={**_CONNECT, "application_name": application},
            min_size=1,
            max_size=max_connections,
            timeout=3.0,
            # A short one: the pool's own pauses double, and would outlast the restart that it waits for.
            reconnect_timeout=2.0,
            # One round trip a checkout, for never handing out a connection that died in the pool.
            check=AsyncConnectionPool.check_connection,
            open=False,
        )

    async def open(self) -> None:
        await self._pool.open(wait=False)

    async def close(self) -> None:
        await self._pool.close()

    @asynccontextmanager
    async def transaction(self, *, timeout_seconds: float | None = None) -> AsyncIterator[Connection]:
        """A connection in a transaction: committed at the end of the block, rolled back when it raises."""
        async with self._pool.connection(timeout=timeout_seconds) as connection, connection.transaction():
            yield connection

    async def ping(self, *, timeout_seconds: float = 2.0) -> float:
        """Milliseconds that an empty query takes. Raises one of GONE."""
        started = time.monotonic()
        async with self._pool.connection(timeout=timeout_seconds) as connection:
            await connection.execute("SELECT 1")
        return (time.monotonic() - started) * 1000

    async def connect(self, *, listen: Sequence[str] = ()) -> Connection:
        """A connection of its own, outside the pool and in autocommit mode, that listens on the channels. Close it."""
        connection = await AsyncConnection[Row].connect(
            self._url, autocommit=True, **{**_CONNECT, "application_name": f"{self._application}-listen"}
        )
        for channel in listen:
            await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
        return connection


def canonical(value: object) -> str:
    """The same JSON text for equal values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
