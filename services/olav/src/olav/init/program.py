"""The steps of `python -m olav.init`. Each may find its work done already."""

import psycopg
import structlog
from chassis.database import GONE, Database
from chassis.migrations import alone, migrate, shipped
from chassis.waiting import StartError, line, wait_for

from olav.checkpoints import create_tables
from olav.database import database
from olav.security.users import Users
from olav.settings import InitSettings

log = structlog.get_logger("olav")


async def run(settings: InitSettings, *, patience_seconds: float = 60.0) -> None:
    """`patience_seconds`: how long to wait for each of the services, and for another init. Raises StartError."""
    try:
        async with database(settings, application="olav-init", max_connections=3) as opened:
            await wait_for("postgres (DATABASE_URL)", opened.ping, GONE, patience_seconds=patience_seconds)
            async with opened.pool.connection() as connection, alone(connection, "olav", patience_seconds):
                await _prepare_postgres(opened, settings)
                await _prepare_opensearch(settings, patience_seconds)
    except psycopg.Error as error:
        raise StartError(f"postgres (DATABASE_URL): {line(error)}") from error
    log.info("everything is prepared")


async def _prepare_postgres(opened: Database, settings: InitSettings) -> None:
    async with opened.pool.connection() as connection:
        version = await migrate(connection, shipped("olav"))
    log.info("schema is up to date", version=version)
    await create_tables(opened.pool)
    log.info("checkpoint tables are up to date")
    users = Users(opened.pool)
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
