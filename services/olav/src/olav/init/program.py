"""The steps of `python -m olav.init`. Each may find its work done already."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
import structlog

from olav.checkpoints import create_tables
from olav.database import GONE, Pool, open_pool
from olav.init.migrate import MigrationError, migrate, shipped
from olav.init.waiting import POLL_SECONDS, InitError, line, wait_for
from olav.security.users import Users
from olav.settings import InitSettings

log = structlog.get_logger("olav")

# Any constant will do; it must only be the same for every init that meets at one database.
_LOCK = 7_454_001


async def run(settings: InitSettings, *, patience_seconds: float = 60.0) -> None:
    """`patience_seconds`: how long to wait for each of the services, and for another init. Raises InitError."""
    pool = open_pool(settings, application="olav-init", max_connections=3)
    try:
        async with pool:
            await _wait_for_postgres(pool, patience_seconds)
            async with _alone(pool, patience_seconds):
                await _prepare_postgres(pool, settings)
                await _prepare_opensearch(settings, patience_seconds)
    except MigrationError as error:
        raise InitError(f"migrations: {error}") from error
    except psycopg.Error as error:
        raise InitError(f"postgres (DATABASE_URL): {line(error)}") from error
    log.info("everything is prepared")


async def _prepare_postgres(pool: Pool, settings: InitSettings) -> None:
    async with pool.connection() as connection:
        applied = await migrate(connection, shipped())
    log.info("schema is up to date", applied=applied)
    await create_tables(pool)
    log.info("checkpoint tables are up to date")
    users = Users(pool)
    for name, password in (
        ("admin", settings.admin_password),
        ("operator", settings.operator_password),
        ("viewer", settings.viewer_password),
    ):
        made = await users.seed(name, name, password.get_secret_value())
        log.info("seed user", username=name, made=made)


async def _prepare_opensearch(settings: InitSettings, patience_seconds: float) -> None:
    if settings.opensearch_url is None:
        log.info("OPENSEARCH_URL is not set: no index template, no documents")
        return
    # Only now: with the model's client it takes a second, for which nobody without documents need wait.
    from olav.init import opensearch

    await opensearch.prepare(settings.opensearch_url, settings, patience_seconds)


async def _wait_for_postgres(pool: Pool, patience_seconds: float) -> None:
    async def ping() -> None:
        async with pool.connection(timeout=2.0) as connection:
            await connection.execute("SELECT 1")

    await wait_for("postgres (DATABASE_URL)", ping, GONE, patience_seconds)


@asynccontextmanager
async def _alone(pool: Pool, patience_seconds: float) -> AsyncIterator[None]:
    """One init at a time at one database.

    Asked for again and again instead of waited for: LangGraph builds indexes concurrently, which would wait for the
    query of whoever waits here, who waits for it.
    """
    async with pool.connection() as connection:
        try:
            async with asyncio.timeout(patience_seconds):
                while not await _locked(connection):
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            raise InitError(f"another init has been at work for more than {patience_seconds:g} s") from None
        try:
            yield
        finally:
            await connection.execute("SELECT pg_advisory_unlock(%s)", (_LOCK,))


async def _locked(connection: psycopg.AsyncConnection[dict[str, object]]) -> bool:
    row = await (await connection.execute("SELECT pg_try_advisory_lock(%s) AS done", (_LOCK,))).fetchone()
    return row is not None and bool(row["done"])
