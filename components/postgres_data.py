"""The data of a PostgreSQL database: saved within it, and restored while its clients stay connected.

Rows are saved in a schema ``ephemera`` of the database itself. A restore compares the catalog first. If only rows
changed, or objects were created since, it restores the rows of the tables that were written to. If objects were altered
or dropped, it rebuilds the whole schema from its definition. Both are one transaction.

``psql`` and ``pg_dump`` run in the server's own container, so the versions agree, nothing has to be published, and no
client library is imported. Only databases for tests need psycopg.
"""

from __future__ import annotations

import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ephemera.model.data import Databases, DataError, DataService

if TYPE_CHECKING:
    import psycopg

_SQL, _SHELL = (Path(__file__).with_suffix(suffix) for suffix in (".sql", ".sh"))
_SECONDS = 60.0
_REBUILD = "rebuild: "
_ERROR = re.compile(r"\b(?:ERROR|FATAL): +(.+)")
_OWNER = 1_701_865_576  # "eph": the first of the two numbers of our locks


class PostgresData:
    """Implements :class:`ephemera.model.data.DatabaseData`, without state. The user has to be a superuser."""

    def remember(self, service: DataService) -> str:
        """Copy all rows, sequences and large objects within the database; return a random text."""
        generation = secrets.token_hex(4)
        call = f"SELECT ephemera.remember('{generation}');"
        steps = "\n".join(("BEGIN ISOLATION LEVEL REPEATABLE READ;", _SQL.read_text(), call, "COMMIT;"))
        _run(service, "remember", steps)
        return generation

    def restore(self, service: DataService, remembered: str) -> str:  # noqa: ARG002 - it is in the database
        """Restore rows; rebuild the schema if it was altered."""
        said = _run(service, "restore")
        if not said.startswith(_REBUILD):
            return said
        same, _, disconnected = _run(service, "anew").partition("|")
        if same != "t":
            raise DataError(
                f"the schema of {service.name!r} was rebuilt, but differs from what it was",
                remedy="take the environment down and bring it up again",
            )
        clients = f", {disconnected} clients disconnected" if disconnected != "0" else ""
        return f"rebuilt, since DDL changed it{clients}: {said.removeprefix(_REBUILD)}"

    def databases(self, service: DataService) -> Databases:
        """Return a maker of databases, cloned from a template of the saved data, which is created if it is missing."""
        return _Clones(service)


DATA = PostgresData()


class _Clones:
    """Clones of the template, created over one connection. Their comments have a number that is locked in the server
    while the connection lives: clones of a killed process are dropped by the next one."""

    def __init__(self, service: DataService) -> None:
        self._service = service
        self._endpoint = service.outputs.endpoint()
        if self._endpoint.host is None:
            raise DataError(
                f"{service.name!r} publishes nothing, so tests cannot connect to a database of their own",
                remedy="bring the environment up with another `expose` than none",
            )
        self._server = _connected(service)
        self._template, _, self._memory = _run(service, "template").partition(" ")
        self._number = secrets.randbelow(2**31)
        self._names: set[str] = set()
        self._server.execute("SELECT pg_advisory_lock(%s, %s)", (_OWNER, self._number))
        for name in self._left_by_others():
            self._drop(name)

    def create(self, name: str, *, durable: bool = False) -> str:
        from psycopg import errors, sql

        database, template = sql.Identifier(name), sql.Identifier(self._template)
        made = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(database, template)
        self._names.add(name)
        try:
            # FILE_COPY: otherwise files are sparse, and a full disk is noticed only by a checkpoint, which fails.
            where = sql.SQL(" TABLESPACE {} STRATEGY FILE_COPY").format(sql.Identifier(self._memory))
            self._server.execute(made if durable or not self._memory else made + where)
        except errors.DiskFull:
            self._server.execute(made)
        mark = sql.Literal(f"ephemera {self._number}")
        self._server.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(database, mark))
        known = self._service.outputs.secrets()
        user, password = (quote(known[key], safe="") for key in ("user", "password"))
        return f"postgresql://{user}:{password}@{self._endpoint.host}:{self._endpoint.port}/{quote(name, safe='')}"

    def drop(self, name: str) -> None:
        self._drop(name)
        self._names.discard(name)

    def close(self) -> None:
        for name in list(self._names):
            self.drop(name)
        self._server.close()

    def _drop(self, name: str) -> None:
        from psycopg import sql

        self._server.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def _left_by_others(self) -> list[str]:
        found = self._server.execute(
            "SELECT d.datname FROM pg_database d JOIN pg_shdescription s ON s.objoid = d.oid"
            " AND s.classoid = 'pg_database'::regclass WHERE s.description ~ '^ephemera [0-9]+$' AND NOT EXISTS"
            " (SELECT FROM pg_locks WHERE locktype = 'advisory' AND classid = %s AND objsubid = 2"
            " AND objid::bigint = split_part(s.description, ' ', 2)::bigint)",
            (_OWNER,),
        ).fetchall()
        return [row[0] for row in found]


def _connected(service: DataService) -> psycopg.Connection[Any]:
    try:
        import psycopg
    except ImportError as error:
        raise DataError(
            "databases for tests need psycopg, which is not installed", remedy="pip install 'psycopg[binary]'"
        ) from error
    endpoint, known = service.outputs.endpoint(), service.outputs.secrets()
    return psycopg.connect(
        host=endpoint.host,
        port=endpoint.port,
        user=known["user"],
        password=known["password"],
        dbname="postgres",
        autocommit=True,
        connect_timeout=10,
        application_name="ephemera",
    )


def _run(service: DataService, step: str, stdin: str | None = None) -> str:
    """Run a step in the container; return its output, or raise :class:`DataError` with the server's own words."""
    code, output = service.exec(["sh", "-c", _SHELL.read_text(), "sh", step], stdin=stdin, timeout_seconds=_SECONDS)
    if code == 0:
        return output.strip()
    told = _ERROR.search(output)
    said = told[1] if told else (output.strip().splitlines() or [f"exit code {code}"])[-1]
    raise _error(service, said)


def _error(service: DataService, said: str) -> DataError:
    return DataError(
        f"the data of {service.name!r}: {said}",
        remedy="nothing was changed; see the server's log, with `ephemera logs`",
    )
