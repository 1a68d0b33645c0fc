"""olav's PostgreSQL."""

from typing import Any
from urllib.parse import urlsplit

from chassis.database import Database

from olav.settings import Settings


def database(settings: Settings, *, application: str, max_connections: int) -> Database:
    """Return the database of `settings`; a URL without a password gets POSTGRES_PASSWORD."""
    # LangGraph's checkpointer asks for the first one.
    more: dict[str, Any] = {"prepare_threshold": 0}
    if urlsplit(settings.database_url.get_secret_value()).password is None:
        more["password"] = settings.postgres_password.get_secret_value()
    return Database(settings.database_url, application=application, max_connections=max_connections, **more)


async def ping(postgres: Database) -> None:
    """Raise one of GONE, or of psycopg's others when the schema is not there yet."""
    await postgres.ping("SELECT 1 FROM users LIMIT 1")
