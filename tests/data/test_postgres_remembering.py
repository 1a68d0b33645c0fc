"""How the data of PostgreSQL is remembered: from here or in the container, and what of it a new database needs."""

from __future__ import annotations

import sys
from contextlib import closing

import pytest

from ephemera.components.postgres_data import DATA
from tests.data.postgres_server import SCHEMA, Database
from tests.data.server import Service

_ALTERED = "DROP SCHEMA public CASCADE; CREATE SCHEMA public; CREATE TABLE t (x integer)"


@pytest.fixture(params=["from here", "in the container"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With a client library installed, and without."""
    if request.param != "from here":
        monkeypatch.setitem(sys.modules, "psycopg", None)
    return str(request.param)


def _commands(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which steps are done in the container."""
    seen: list[str] = []
    run = Service.exec

    def exec_(self: Service, command: list[str], **options: object) -> tuple[int, str]:
        seen.append(command[-1])
        return run(self, command, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Service, "exec", exec_)
    return seen


def test_rows_and_schema_come_back(database: Database, way: str) -> None:
    database.run(SCHEMA)
    before = database.dump()
    database.remember()
    database.run("DROP TABLE people CASCADE; INSERT INTO audit VALUES ('dirt')")
    assert "rebuilt" in database.restore()
    assert database.dump() == before


def test_new_database_is_made_anew_and_cloned_without_a_definition_of_its_own(database: Database, way: str) -> None:
    before = database.dump()
    database.remember()
    assert database.value("SELECT is_new AND dump IS NULL FROM ephemera.ready")
    database.run("CREATE TABLE t (x integer); INSERT INTO t VALUES (1)")
    assert database.restore() == "0 changed brought back, 1 created since dropped"
    database.run(_ALTERED)
    assert "rebuilt" in database.restore()
    assert database.dump() == before
    assert database.value("SELECT count(*) FROM pg_database WHERE datname = 'ephemera_building'") == 0


def test_databases_of_a_new_one_are_new(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    before = database.dump()
    database.remember()
    database.run(_ALTERED)
    with closing(DATA.databases(database.service)) as databases:
        databases.create(f"{database.name}_clone")
        assert database.dump(f"{database.name}_clone") == before


@pytest.mark.parametrize(
    "deed",
    [
        "CREATE TABLE t ()",
        "GRANT CREATE ON SCHEMA public TO PUBLIC",
        "DROP SCHEMA public",
        "CREATE SCHEMA more",
        "CREATE EXTENSION pg_trgm",
        "CREATE TYPE mood AS ENUM ('sad')",
        "CREATE FUNCTION f() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC",
        "CREATE PUBLICATION p",
    ],
)
def test_whatever_a_definition_tells_is_not_new(database: Database, deed: str) -> None:
    database.run(deed)
    before = database.dump()
    database.remember()
    assert not database.value("SELECT is_new FROM ephemera.ready")
    database.run("DROP SCHEMA IF EXISTS public CASCADE; CREATE SCHEMA other")
    database.restore()
    assert database.dump() == before


def test_no_program_is_started_in_the_container_for_a_new_one(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = _commands(monkeypatch)
    DATA.remember(database.service)
    assert seen == []
    database.run("CREATE TABLE t ()")
    database.remember()
    assert seen == ["keep_later"]


def test_server_that_cannot_be_reached_from_here_is_remembered_in_the_container(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = _commands(monkeypatch)
    endpoint = database.service.outputs.endpoint()
    for update in ({"host": None, "port": None, "url": None}, {"port": 1}):
        changed = endpoint.model_copy(update=update)
        outputs = database.service.outputs.model_copy(update={"endpoints": {"postgres": changed}})
        variables = {"POSTGRES_DB": database.name}
        DATA.remember(Service(database.server.client, database.service.container, outputs, variables))
        assert database.value("SELECT is_new FROM ephemera.ready")
    assert seen == ["remember", "remember"]
