"""The schema: numbered SQL files, each run once, in order, by whoever comes first."""

import hashlib
from dataclasses import dataclass
from importlib.resources import files

from psycopg import AsyncConnection

from olav.database import Row


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
    folder = files("olav").joinpath("migrations")
    found = sorted(path.name for path in folder.iterdir() if path.name.endswith(".sql"))
    return [
        Migration(
            version=int(name.split("_", 1)[0]),
            name=name.removesuffix(".sql"),
            text=folder.joinpath(name).read_text(encoding="utf-8"),
        )
        for name in found
    ]


async def migrate(connection: AsyncConnection[Row], migrations: list[Migration]) -> list[str]:
    """Bring the schema up to date; returns the names of those that were applied now. One at a time: hold a lock.

    Raises MigrationError when the database is newer than this program, or was migrated by another text of the same
    version.
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
    done = []
    for migration in migrations:
        digest = applied.get(migration.version)
        if digest is None:
            async with connection.transaction():
                # Without parameters: only the simple protocol takes several statements. The text is ours.
                await connection.execute(migration.text.encode())
                await connection.execute(
                    "INSERT INTO schema_migrations (version, name, digest) VALUES (%s, %s, %s)",
                    (migration.version, migration.name, migration.digest),
                )
            done.append(migration.name)
        elif digest != migration.digest:
            raise MigrationError(
                f"migration {migration.name} was applied with another text: never edit one that was applied"
            )
    return done
