"""The data of a PostgreSQL database: remembered within it, and brought back while its clients stay connected.

Rows are kept in a schema ``ephemera`` of the database itself. A restore compares the catalog first. Where only rows
changed, or objects were created since, it puts back the rows of the tables that were written to. Where objects were
altered or dropped, it makes the whole schema anew from its definition. Both are one transaction: all of it, or nothing.

What is done is done by ``psql`` and ``pg_dump`` in the server's own container, so the versions agree, nothing has to be
published, and no client library is imported. Every environment waits until its data is remembered, and to start a
program in a container takes longer than what it does then; so that is done from here where it can be.
"""

from __future__ import annotations

import re
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ephemera.contract.data import Databases, DataError, DataService

if TYPE_CHECKING:
    import psycopg

_SQL, _SHELL = (Path(__file__).with_suffix(suffix) for suffix in (".sql", ".sh"))
_SECONDS = 60.0
# As in the script.
_OPTIONS = f"-c client_min_messages=warning -c statement_timeout={_SECONDS:g}s -c session_replication_role=replica"
_REBUILD = "rebuild: "
_ERROR = re.compile(r"\b(?:ERROR|FATAL): +(.+)")
_OWNER = 1_701_865_576  # "eph": the first of the two numbers of our locks


class PostgresData:
    """The protocol's implementation, which keeps nothing between calls. The user has to be a superuser."""

    def remember(self, service: DataService) -> str:
        """Copy all rows, sequences and large objects; returns nothing that matters: it is in the database."""
        generation = secrets.token_hex(4)
        call = f"SELECT ephemera.remember('{generation}');"
        steps = "\n".join(("BEGIN ISOLATION LEVEL REPEATABLE READ;", _SQL.read_text(), call, "COMMIT;"))
        is_new = _remembered_from_here(service, steps)
        if is_new is None:
            _run(service, "remember", steps)
        elif not is_new:
            _run(service, "keep_later")
        return generation

    def restore(self, service: DataService, remembered: str) -> str:  # noqa: ARG002 - it is in the database
        """Bring rows back; make the schema anew where it was altered."""
        said = _run(service, "restore")
        if not said.startswith(_REBUILD):
            return said
        same, _, disconnected = _run(service, "anew").partition("|")
        if same != "t":
            raise DataError(
                f"the schema of {service.name!r} was made anew, but is not quite what it was",
                remedy="take the environment down and bring it up again",
            )
        clients = f", {disconnected} clients disconnected" if disconnected != "0" else ""
        return f"made anew, since DDL changed it{clients}: {said.removeprefix(_REBUILD)}"

    def databases(self, service: DataService) -> Databases:
        """Databases cloned from a template of what was remembered, which is made when it is not there yet."""
        return _Clones(service)


DATA = PostgresData()


class _Clones:
    """Clones of the template, made over one connection. Whose they are is said in their comments, by a number that is
    locked in the server for as long as that connection lives: what a killed process left is dropped by the next one."""

    def __init__(self, service: DataService) -> None:
        self._service = service
        self._endpoint = service.outputs.endpoint()
        if self._endpoint.host is None:
            raise DataError(
                f"{service.name!r} publishes nothing, so no test could connect to a database of its own",
                remedy="bring the environment up with another `expose` than none",
            )
        self._server = _connected(service, "postgres")
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
            # FILE_COPY: otherwise files have holes, and that they do not fit is found out by a checkpoint, which fails.
            where = sql.SQL(" TABLESPACE {} STRATEGY FILE_COPY").format(sql.Identifier(self._memory))
            self._server.execute(made if durable or not self._memory else made + where)
        except errors.DiskFull:
            self._server.execute(made)
        mark = sql.Literal(f"ephemera {self._number}")
        self._server.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(database, mark))
        known = _credentials(self._service)
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


def _credentials(service: DataService) -> dict[str, str]:
    return {key: secret.get_secret_value() for key, secret in service.outputs.credentials.items()}


def _connected(service: DataService, database: str, options: str = "") -> psycopg.Connection[Any]:
    try:
        import psycopg
    except ImportError as error:
        raise DataError(
            "psycopg is not installed, which makes databases for tests", remedy="pip install 'psycopg[binary]'"
        ) from error
    endpoint, known = service.outputs.endpoint(), _credentials(service)
    return psycopg.connect(
        host=endpoint.host,
        port=endpoint.port,
        user=known["user"],
        password=known["password"],
        dbname=database,
        autocommit=True,
        connect_timeout=10,
        options=options,
        application_name="ephemera",
    )


def _remembered_from_here(service: DataService, steps: str) -> bool | None:
    """Whether what was remembered is a new database; None, with nothing done, where the client library is not
    imported, which takes longer than what it saves, or where the server cannot be reached so."""
    known = _credentials(service)
    if sys.modules.get("psycopg") is None or not {"user", "password", "database"} <= known.keys():
        return None
    if service.outputs.endpoint().host is None:
        return None
    import psycopg

    try:
        connection = _connected(service, known["database"], _OPTIONS)
    except psycopg.OperationalError:
        return None
    with connection:
        try:
            connection.execute(steps.encode())
            found = connection.execute("SELECT is_new FROM ephemera.ready").fetchone()
        except psycopg.Error as error:
            said = error.diag.message_primary or str(error)
            raise DataError(f"the data of {service.name!r}: {said}", remedy="nothing was changed") from error
    return found == (True,)


def _run(service: DataService, step: str, stdin: str | None = None) -> str:
    """Do a step in the container; what it says, or :class:`DataError` with the server's own words."""
    code, output = service.exec(["sh", "-c", _SHELL.read_text(), "sh", step], stdin=stdin, timeout_seconds=_SECONDS)
    if code == 0:
        return output.strip()
    told = _ERROR.search(output)
    said = told[1] if told else (output.strip().splitlines() or [f"exit code {code}"])[-1]
    raise DataError(f"the data of {service.name!r}: {said}", remedy="nothing was changed")
