"""PostgreSQL: a pool that survives a restart of the server, and connections that listen."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self

import psycopg
from psycopg import AsyncConnection, sql
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool
from pydantic import SecretStr

Row = dict[str, Any]
Connection = AsyncConnection[Row]
Pool = AsyncConnectionPool[Connection]

# What a server that restarts, a cut network or an exhausted pool raises: worth another try, never a crash.
GONE = (psycopg.OperationalError, psycopg.InterfaceError)

# The keepalives find a peer that vanished without a word; the time-outs keep one stuck client from holding rows for
# ever.
_CONNECT: dict[str, Any] = {
    "autocommit": True,
    "connect_timeout": 3,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "options": "-c statement_timeout=15s -c idle_in_transaction_session_timeout=60s -c timezone=UTC",
    "row_factory": dict_row,
}


class Database:
    """A pool of connections in autocommit mode. Nothing is opened before `async with`, which is for one event loop.

    `url`: a libpq connection URL. `more`: further arguments of each connection, such as `password`.
    """

    gone = GONE

    def __init__(self, url: SecretStr, *, application: str, max_connections: int, **more: Any) -> None:
        self._url = url.get_secret_value()
        self._connect = {**_CONNECT, **more, "application_name": application[:63]}
        self.pool: Pool = AsyncConnectionPool(
            self._url,
            connection_class=AsyncConnection[Row],
            kwargs=self._connect,
            min_size=1,
            max_size=max_connections,
            timeout=3.0,
            # A short one: the pool's own pauses double, and would outlast the restart that it waits for.
            reconnect_timeout=2.0,
            # One round trip a checkout, for never handing out a connection that died in the pool.
            check=AsyncConnectionPool.check_connection,
            open=False,
        )

    async def __aenter__(self) -> Self:
        await self.pool.open(wait=False)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.pool.close()

    @asynccontextmanager
    async def transaction(self, *, timeout_seconds: float | None = None) -> AsyncIterator[Connection]:
        """Give a connection in a transaction: committed at the end of the block, rolled back when it raises."""
        async with self.pool.connection(timeout=timeout_seconds) as connection, connection.transaction():
            yield connection

    async def ping(self, query: str = "SELECT 1") -> float:
        """Return the milliseconds that the query takes. Raise one of GONE."""
        started = time.monotonic()
        async with self.pool.connection(timeout=2.0) as connection:
            await connection.execute(query.encode())
        return (time.monotonic() - started) * 1000

    async def connect(self, *, listen: Sequence[str] = ()) -> Connection:
        """Return a connection of its own, outside the pool, that listens on the channels. Close it."""
        connection = await AsyncConnection[Row].connect(self._url, **self._connect)
        for channel in listen:
            await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
        return connection
