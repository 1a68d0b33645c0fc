"""Data for one test: the environment's, as it was when the environment became ready, or a database of the test's own.

Tests that use a run's environment share a lock on its data; one with ``ephemera_fresh_data`` has the lock alone from
the reset to the end of the test. Workers and other runs wait for each other, in order of arrival.
"""

from __future__ import annotations

import re
import secrets
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from ephemera.lifecycle import resetting
from ephemera.model.data import Databases
from ephemera.model.errors import InputError
from ephemera.model.outputs import REDACTED, EnvironmentOutputs
from ephemera.pulumi.workspace import Workspace

if TYPE_CHECKING:
    import psycopg

_PREFIX = re.compile(r"[a-z_][a-z0-9_]{0,39}")


class Hold:
    """Locks of the running test on data of environments. One for a process, which runs one test at a time."""

    def __init__(self) -> None:
        self._held = ExitStack()
        self._alone: dict[str, bool] = {}

    def take(self, stack: str, *, alone: bool) -> None:
        """Lock the stack's data, alone or shared, and wait for other holders."""
        if self._alone.get(stack, False) or (stack in self._alone and not alone):
            return
        self.let_go()  # of all: to wait for one lock while holding another could be a deadlock
        self._held.enter_context(resetting.alone(stack) if alone else resetting.using(stack))
        self._alone[stack] = alone

    def let_go(self) -> None:
        """Release all locks: the test has ended."""
        self._alone.clear()
        self._held.close()


class Database:
    """A database of one test's own. Dropped when the test has ended or, in a ``with``, when its block has."""

    def __init__(self, server: Databases, name: str, *, durable: bool) -> None:
        self.name = name
        self.url = server.create(name, durable=durable)
        """With user and password; from this machine."""
        self.bound = False
        """Whether a ``with`` drops it."""
        self._server: Databases | None = server
        self._connections: list[psycopg.Connection[Any]] = []

    def __repr__(self) -> str:
        parts = urlsplit(self.url)
        address = parts.netloc.rpartition("@")[2]
        return f"Database({urlunsplit(parts._replace(netloc=f'{REDACTED}:{REDACTED}@{address}'))!r})"

    def connect(self, **options: Any) -> psycopg.Connection[Any]:
        """Connect to it, autocommit; ``options`` go to :func:`psycopg.connect`. Closed with the database."""
        import psycopg

        connection: psycopg.Connection[Any] = psycopg.connect(self.url, **{"autocommit": True, **options})
        self._connections.append(connection)
        return connection

    def drop(self) -> None:
        """Drop it now, if it still exists."""
        for connection in self._connections:
            connection.close()
        server, self._server = self._server, None
        if server is not None:
            server.drop(self.name)

    def __enter__(self) -> Database:
        self.bound = True
        return self

    def __exit__(self, *_: object) -> None:
        self.drop()


class DatabaseMaker:
    """Makes databases of an environment; what a service needs for that is made with the first one."""

    def __init__(self, workspace: Workspace, outputs: EnvironmentOutputs) -> None:
        self._workspace = workspace
        self._outputs = outputs
        self._servers: dict[str, Databases] = {}
        self._open = ExitStack()
        self._made: list[Database] = []

    def make(self, service: str, name_prefix: str, *, durable: bool) -> Database:
        """Make a database of the service with the data of the reset point."""
        if not _PREFIX.fullmatch(name_prefix):
            raise InputError(
                f"name_prefix {name_prefix!r} is not valid", remedy="lower-case letters, digits and _, at most 40"
            )
        if service not in self._servers:
            made = resetting.databases(self._workspace, self._outputs, service)
            self._servers[service] = self._open.enter_context(made)
        # A random name: several workers make databases of one server.
        database = Database(self._servers[service], f"{name_prefix}_{secrets.token_hex(6)}", durable=durable)
        self._made.append(database)
        return database

    def end_of_test(self) -> None:
        """Drop those that no ``with`` drops."""
        for database in self._made:
            if not database.bound:
                database.drop()
        self._made = [database for database in self._made if database.bound]

    def close(self) -> None:
        """Drop all of them."""
        for database in self._made:
            database.drop()
        self._open.close()
