"""Databases of PostgreSQL for one test each: what they hold, where they are, and what becomes of them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing

import psycopg
import pytest

from ephemera.components.postgres_data import DATA
from ephemera.model.data import DataError
from tests.data.postgres_server import SCHEMA, Database, made, running_server
from tests.data.server import Server, Service


@pytest.fixture(scope="module")
def full(server: Server) -> Iterator[Database]:
    """With one of everything, remembered; each test leaves it as it was."""
    with made(server) as found:
        found.run(SCHEMA)
        found.remember()
        yield found


@pytest.fixture(scope="module")
def before(full: Database) -> str:
    return full.dump()


def test_databases_are_clones_of_what_was_remembered(full: Database, before: str) -> None:
    full.run("TRUNCATE people CASCADE; INSERT INTO audit VALUES ('dirt')")
    with closing(DATA.databases(full.service)) as databases:
        urls = {name: databases.create(name) for name in (f"{full.name}_one", f"{full.name}_two")}
        for name, url in urls.items():
            with psycopg.connect(url) as client:
                assert client.execute("SELECT count(*) FROM people").fetchone() == (3,)
                assert client.execute("SELECT to_regnamespace('ephemera')").fetchone() == (None,)
            assert full.dump(name) == before
        busy = psycopg.connect(urls[f"{full.name}_one"])
        databases.drop(f"{full.name}_one")
        busy.close()
        assert _clones(full) == [f"{full.name}_two"]
    assert _clones(full) == []
    assert full.value("SELECT count(*) FROM people") == 0
    full.restore()
    with closing(DATA.databases(full.service)) as databases:  # from the same template
        databases.create(f"{full.name}_three")
    assert full.value("SELECT count(*) FROM pg_database WHERE datname ~ '^ephemera_'") == 1


def test_databases_after_ddl_are_as_before_it(full: Database, before: str) -> None:
    full.run("DROP TABLE people CASCADE; UPDATE ephemera.ready SET generation = 'another'")
    with closing(DATA.databases(full.service)) as databases:
        databases.create(f"{full.name}_clone")
        assert full.dump(f"{full.name}_clone") == before
    full.restore()
    full.reconnect()


def test_what_a_killed_process_left_is_dropped_by_the_next_one(full: Database) -> None:
    living, killed = DATA.databases(full.service), DATA.databases(full.service)
    living.create(f"{full.name}_living")
    killed.create(f"{full.name}_killed")
    pid = killed._server.info.backend_pid  # type: ignore[attr-defined]
    full.value(f"SELECT pg_terminate_backend({pid}, 5000)")
    with closing(DATA.databases(full.service)):
        assert _clones(full) == [f"{full.name}_living"]
    killed._server.close()  # type: ignore[attr-defined]
    living.close()


def test_project_without_psycopg_is_told_what_to_install(full: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(DataError, match=r"databases for tests need psycopg.*pip install 'psycopg\[binary\]'"):
        DATA.databases(full.service)
    assert full.restore() == "0 changed brought back"  # which needs none


def test_database_without_a_port_is_refused(full: Database) -> None:
    endpoint = full.service.outputs.endpoint().model_copy(update={"host": None, "port": None, "url": None})
    outputs = full.service.outputs.model_copy(update={"endpoints": {"postgres": endpoint}})
    hidden = Service(full.server.client, full.service.container, outputs, {})
    with pytest.raises(DataError, match=r"publishes nothing.*another `expose` than none"):
        DATA.databases(hidden)


def test_databases_are_in_memory_unless_they_have_to_last(full: Database) -> None:
    with closing(DATA.databases(full.service)) as databases:
        databases.create(f"{full.name}_fast")
        databases.create(f"{full.name}_lasting", durable=True)
        assert _place(full, f"{full.name}_fast") == "ephemera"
        assert _place(full, f"{full.name}_lasting") == "pg_default"


def test_more_than_the_memory_holds_goes_to_the_volume(full: Database) -> None:
    with closing(DATA.databases(full.service)) as databases:
        names = [f"{full.name}_{number}" for number in range(6)]  # some 8 MB each, of 32
        for name in names:
            with psycopg.connect(databases.create(name)) as client:
                assert client.execute("SELECT count(*) FROM people").fetchone() == (3,)
        assert {_place(full, name) for name in names} == {"ephemera", "pg_default"}


def test_killed_server_comes_back_without_the_databases_that_were_in_memory() -> None:
    with running_server() as server, made(server) as database:
        database.run("CREATE TABLE t (x integer); INSERT INTO t VALUES (1)")
        database.remember()
        databases = DATA.databases(database.service)
        for name, durable in (("gone", False), ("lasting", True)):
            with psycopg.connect(databases.create(f"{database.name}_{name}", durable=durable)) as client:
                client.execute("INSERT INTO t SELECT generate_series(2, 10000)")
        server.container.kill()
        databases._server.close()  # type: ignore[attr-defined]
        server.container.start()
        with database.connect(f"{database.name}_lasting") as client:
            assert client.execute("SELECT count(*) FROM t").fetchone() == (10000,)
        database.reconnect()
        assert database.value("SELECT sum(x) FROM t") == 1
        with closing(DATA.databases(database.service)) as again:
            assert _clones(database) == []
            with psycopg.connect(again.create(f"{database.name}_new")) as client:
                assert client.execute("SELECT sum(x) FROM t").fetchone() == (1,)
            assert _place(database, f"{database.name}_new") == "ephemera"


def _clones(database: Database) -> list[str]:
    found = database.connection.execute(
        "SELECT datname FROM pg_database WHERE datname LIKE %s ORDER BY 1", (f"{database.name}\\_%",)
    )
    return [row[0] for row in found]


def _place(database: Database, name: str) -> str:
    found = database.connection.execute(
        "SELECT spcname FROM pg_database d JOIN pg_tablespace t ON t.oid = dattablespace WHERE datname = %s", (name,)
    ).fetchone()
    assert found is not None
    return str(found[0])
