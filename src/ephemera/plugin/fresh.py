"""Data that is a test's own: the environment's, back as it was when it became ready, or a database of its own.

Who uses the environment of a run holds its data together with others, a test that asks for ``ephemera_fresh_data`` has
it alone, from the reset until the test has ended: workers and other runs wait for each other, in the order they came.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from ephemera.contract.data import Databases
from ephemera.contract.errors import InputError
from ephemera.contract.outputs import REDACTED, EnvironmentOutputs
from ephemera.driver import resetting
from ephemera.driver.workspace import Workspace

if TYPE_CHECKING:
    import psycopg

_PREFIX = re.compile(r"[a-z_][a-z0-9_]{0,39}")


class Hold:
    """What the running test holds of the data of environments. One for a process, which runs one test at a time."""

    def __init__(self) -> None:
        self._held = ExitStack()
        self._alone: dict[str, bool] = {}

    def take(self, stack: str, *, alone: bool) -> None:
        """Hold the stack's data, alone or with others; waits for whoever is in the way."""
        if self._alone.get(stack, False) or (stack in self._alone and not alone):
            return
        self.let_go()  # of all: who waits for one while holding another could be waited for
        self._held.enter_context(resetting.alone(stack) if alone else resetting.using(stack))
        self._alone[stack] = alone

    def let_go(self) -> None:
        """The test has ended."""
        self._alone.clear()
        self._held.close()


class Database:
    """A database of one test's own. Dropped when the test has ended or, in a ``with``, when its block has."""

    def __init__(self, name: str, url: str, drop: Callable[[Database], None]) -> None:
        self.name = name
        self.url = url
        """With user and password; from this machine."""
        self.bound = False
        """Whether a ``with`` drops it."""
        self._drop = drop
        self._connections: list[psycopg.Connection[Any]] = []

    def __repr__(self) -> str:
        parts = urlsplit(self.url)
        address = parts.netloc.rpartition("@")[2]
        return f"Database({urlunsplit(parts._replace(netloc=f'{REDACTED}:{REDACTED}@{address}'))!r})"

    def connect(self, **options: Any) -> psycopg.Connection[Any]:
        """A connection to it, autocommit; ``options`` go to :func:`psycopg.connect`. Closed with the database."""
        import psycopg

        connection: psycopg.Connection[Any] = psycopg.connect(self.url, **{"autocommit": True, **options})
        self._connections.append(connection)
        return connection

    def drop(self) -> None:
        """Drop it now."""
        for connection in self._connections:
            connection.close()
        self._drop(self)

    def __enter__(self) -> Database:
        self.bound = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.drop()


class DatabaseMaker:
    """Makes databases of an environment; what each service needs for that is there from the first one on."""

    def __init__(self, workspace: Workspace, outputs: EnvironmentOutputs) -> None:
        self._workspace = workspace
        self._outputs = outputs
        self._servers: dict[str, Databases] = {}
        self._open = ExitStack()
        self._there: dict[str, Database] = {}

    def make(self, service: str, name_prefix: str, *, durable: bool) -> Database:
        """A database of the service with the data that was remembered."""
        if not _PREFIX.fullmatch(name_prefix):
            raise InputError(
                f"name_prefix {name_prefix!r} is not valid", remedy="lower-case letters, digits and _, at most 40"
            )
        if service not in self._servers:
            made = resetting.databases(self._workspace, self._outputs, service)
            self._servers[service] = self._open.enter_context(made)
        server = self._servers[service]
        name = f"{name_prefix}_{secrets.token_hex(6)}"  # of several workers, no two choose the same

        def drop(database: Database) -> None:
            if self._there.pop(database.name, None) is not None:
                server.drop(database.name)

        database = self._there[name] = Database(name, server.create(name, durable=durable), drop)
        return database

    def end_of_test(self) -> None:
        """Drop those that no ``with`` drops."""
        for database in list(self._there.values()):
            if not database.bound:
                database.drop()

    def close(self) -> None:
        """Drop all of them."""
        for database in list(self._there.values()):
            database.drop()
        self._open.close()
