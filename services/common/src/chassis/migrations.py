"""The schema: numbered SQL files in a package's folder `migrations`, each run once, in order."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.resources import files

import psycopg
import structlog

from chassis.database import GONE, Connection, Database
from chassis.waiting import POLL_SECONDS, StartError, wait_for

log = structlog.get_logger()


class MigrationError(StartError):
    """The database cannot be brought to this program's schema."""


@dataclass(frozen=True, kw_only=True)
class Migration:
    version: int
    name: str
    text: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


def shipped(package: str) -> list[Migration]:
    """Return the migrations of a package, by version."""
    folder = files(package).joinpath("migrations")
    return [
        Migration(
            version=int(path.name.split("_", 1)[0]),
            name=path.name.removesuffix(".sql"),
            text=path.read_text(encoding="utf-8"),
        )
        for path in sorted(folder.iterdir(), key=lambda path: path.name)
        if path.name.endswith(".sql")
    ]


async def bring_up_to_date(database: Database, package: str, *, patience_seconds: float) -> int:
    """Wait for the database, migrate it, and return its version. Raise StartError."""

    async def migrated() -> int:
        async with database.pool.connection() as connection, alone(connection, package, patience_seconds):
            return await migrate(connection, shipped(package))

    version = await wait_for("PostgreSQL (DATABASE_URL)", migrated, GONE, patience_seconds=patience_seconds)
    log.info("schema is up to date", version=version)
    return version


@asynccontextmanager
async def alone(connection: Connection, package: str, patience_seconds: float) -> AsyncIterator[None]:
    """Hold the database's lock of `package`: one program at a time migrates. Raise StartError when it is not free.

    Asked for again and again instead of waited for: an index that is built concurrently would wait for the query of
    whoever waits here, who waits for it.
    """
    try:
        async with asyncio.timeout(patience_seconds):
            while not await _ask(connection, "pg_try_advisory_lock", package):
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        raise StartError(f"another program has been migrating for more than {patience_seconds:g} s") from None
    try:
        yield
    finally:
        # Gone with the session where the database is gone.
        with contextlib.suppress(*GONE):
            await _ask(connection, "pg_advisory_unlock", package)


async def migrate(connection: Connection, migrations: list[Migration]) -> int:
    """Bring the schema up to date and return its version. Hold the lock of `alone`.

    Raise MigrationError when the database is newer than this program, was migrated by another text of the same
    version, or lacks an extension.
    """
    await connection.execute(
        """
            CREATE TABLE IF NOT EXISTS schema_migrations (version integer PRIMARY KEY, name text NOT NULL,
            digest text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())
        """
    )
    rows = await (await connection.execute("SELECT version, digest FROM schema_migrations")).fetchall()
    applied = {row["version"]: row["digest"] for row in rows}
    known = {migration.version for migration in migrations}
    if newer := sorted(set(applied) - known):
        raise MigrationError(
            f"the database has schema version {newer[-1]}, this program knows up to {max(known)}: run a newer one"
        )
    for migration in migrations:
        digest = applied.get(migration.version)
        if digest is None:
            await _apply(connection, migration)
        elif digest != migration.digest:
            raise MigrationError(
                f"migration {migration.name} was applied with another text: never edit one that was applied"
            )
    return max(known)


async def _apply(connection: Connection, migration: Migration) -> None:
    try:
        async with connection.transaction():
            # Without parameters: only the simple protocol takes several statements. The text is ours.
            await connection.execute(migration.text.encode())
            await connection.execute(
                "INSERT INTO schema_migrations (version, name, digest) VALUES (%s, %s, %s)",
                (migration.version, migration.name, migration.digest),
            )
    except (psycopg.errors.FeatureNotSupported, psycopg.errors.UndefinedFile) as error:
        # Both are what PostgreSQL calls a missing extension, by version.
        raise MigrationError(
            f"migration {migration.name}: {error.diag.message_primary}: use a PostgreSQL image that has it"
        ) from error
    log.info("migrated", migration=migration.name)


async def _ask(connection: Connection, function: str, package: str) -> bool:
    row = await (
        await connection.execute(f"SELECT {function}(hashtext(%s)) AS done", (f"migrations of {package}",))
    ).fetchone()
    return row is not None and bool(row["done"])
