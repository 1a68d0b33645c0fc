"""How the data of PostgreSQL is saved, and what of it a new database needs."""

from __future__ import annotations

from contextlib import closing

import pytest

from ephemera.components.postgres_data import DATA
from tests.data.postgres_server import SCHEMA, Database

_ALTERED = "DROP SCHEMA public CASCADE; CREATE SCHEMA public; CREATE TABLE t (x integer)"


def test_rows_and_schema_come_back(database: Database) -> None:
    database.run(SCHEMA)
    before = database.dump()
    database.remember()
    database.run("DROP TABLE people CASCADE; INSERT INTO audit VALUES ('dirt')")
    assert "rebuilt" in database.restore()
    assert database.dump() == before


def test_new_database_is_made_anew_and_cloned_without_a_definition_of_its_own(database: Database) -> None:
    before = database.dump()
    database.remember()
    assert database.value("SELECT is_new AND dump IS NULL FROM ephemera.ready")
    database.run("CREATE TABLE t (x integer); INSERT INTO t VALUES (1)")
    assert database.restore() == "0 changed brought back, 1 created since dropped"
    database.run(_ALTERED)
    assert "rebuilt" in database.restore()
    assert database.dump() == before
    assert database.value("SELECT count(*) FROM pg_database WHERE datname = 'ephemera_building'") == 0


def test_databases_of_a_new_one_are_new(database: Database) -> None:
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
