"""The schema: numbered SQL files, each run once, in order, by whoever comes first."""

import hashlib
from dataclasses import dataclass
from importlib.resources import files

import psycopg

from tasker.store.database import Connection, Database

# Any constant will do; it must only be the same for every orchestration that meets at one database.
_LOCK = 7_453_001


class MigrationError(Exception):
    """The database cannot be brought to this program's schema."""


@dataclass(frozen=True, kw_only=True)
class Migration:
    version: int
    name: str
    text: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


def shipped() -> list[Migration]:
    """The migrations of this program, by version."""
    found = sorted(
        path.name for path in files("tasker.store").joinpath("migrations").iterdir() if path.name.endswith(".sql")
    )
    return [
        Migration(
            version=int(name.split("_", 1)[0]),
            name=name.removesuffix(".sql"),
            text=files("tasker.store").joinpath("migrations", name).read_text(encoding="utf-8"),
        )
        for name in found
    ]


async def migrate(database: Database, migrations: list[Migration]) -> int:
    """Bring the schema up to date; returns its version. Several may do it at once: the others wait, then find it done.

    Raises MigrationError when the database is newer than this program, was migrated by another text of the same
    version, or lacks an extension.
    """
    connection = await database.connect()
    try:
        await connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        await connection.execute(
            """
                CREATE TABLE IF NOT EXISTS schema_migrations (version integer PRIMARY KEY, name text NOT NULL,
                digest text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())
            """
        )
        rows = await (await connection.execute("SELECT version, name, digest FROM schema_migrations")).fetchall()
        applied = {row["version"]: row for row in rows}
        known = {migration.version for migration in migrations}
        if newer := sorted(set(applied) - known):
            raise MigrationError(
                f"the database has schema version {newer[-1]}, this program knows up to {max(known)}: run a newer one"
            )
        for migration in migrations:
            done = applied.get(migration.version)
            if done is None:
                await _apply(connection, migration)
            elif done["digest"] != migration.digest:
                raise MigrationError(
                    f"migration {migration.name} was applied with another text: never edit one that was applied"
                )
        return max(known)
    finally:
        # Ends the session, and the lock with it.
        await connection.close()


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
            f"migration {migration.name}: {error.diag.message_primary}:"
            " use a PostgreSQL made by services/tasker/postgres/Dockerfile"
        ) from error
