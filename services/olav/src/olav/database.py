"""The way to PostgreSQL: a pool that survives a restart of the server."""

from typing import Any
from urllib.parse import urlsplit

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from olav.settings import Settings

Row = dict[str, Any]
Pool = AsyncConnectionPool[AsyncConnection[Row]]

# What a server that restarts, a cut network or an exhausted pool raises: worth another try, never a crash.
GONE = (psycopg.OperationalError, psycopg.InterfaceError)

# The keepalives find a peer that vanished without a word; the time-outs keep one stuck client from holding rows for
# ever. Autocommit and no prepared statements: what LangGraph's checkpointer asks of a connection.
_CONNECT: dict[str, Any] = {
    "autocommit": True,
    "prepare_threshold": 0,
    "row_factory": dict_row,
    "connect_timeout": 3,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "options": "-c statement_timeout=15s -c idle_in_transaction_session_timeout=60s -c timezone=UTC",
}


def connect_arguments(settings: Settings, *, application: str) -> dict[str, Any]:
    """What a connection takes on top of the URL."""
    arguments = {**_CONNECT, "application_name": application}
    if urlsplit(settings.database_url.get_secret_value()).password is None:
        arguments["password"] = settings.postgres_password.get_secret_value()
    return arguments


def open_pool(settings: Settings, *, application: str, max_connections: int) -> Pool:
    """A pool that is not open yet: `await pool.open()`, in the process and the event loop that will use it."""
    return AsyncConnectionPool(
        settings.database_url.get_secret_value(),
        connection_class=AsyncConnection[Row],
        kwargs=connect_arguments(settings, application=application),
        min_size=1,
        max_size=max_connections,
        timeout=3.0,
        # A short one: the pool's own pauses double, and would outlast the restart that it waits for.
        reconnect_timeout=2.0,
        # One round trip a checkout, for never handing out a connection that died in the pool.
        check=AsyncConnectionPool.check_connection,
        open=False,
    )


async def ping(pool: Pool) -> None:
    """Raises one of GONE, or of psycopg's others when the schema is not there yet."""
    async with pool.connection(timeout=2) as connection:
        await connection.execute("SELECT 1 FROM users LIMIT 1")
