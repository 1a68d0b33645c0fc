"""The data of PostgreSQL: whatever a test does to a database, it comes back as it was, and its clients stay."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from ephemera.components.postgres_data import DATA
from ephemera.model.data import DataError
from tests.data.postgres_server import READY_SECONDS, SCHEMA, USER, Database, made, running_server
from tests.data.server import PASSWORD, Server


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


_ROWS = [
    "INSERT INTO people (name, mood) VALUES ('Eve', 'sad')",
    "UPDATE people SET name = 'Bob' WHERE id = 1",
    "UPDATE people SET name = name",
    "DELETE FROM teams WHERE false; UPDATE teams SET captain = NULL; DELETE FROM players; DELETE FROM teams",
    "TRUNCATE people, players, teams, audit RESTART IDENTITY CASCADE",
    "UPDATE events SET at = '2025-01-01'",
    "TRUNCATE scratch, parent",
    "DELETE FROM ONLY parent; UPDATE child SET x = 9",
    'INSERT INTO "Odd schema"."Tab""le" (note) VALUES (\'more\');DELETE FROM "Odd schema"."Tab""le" WHERE note IS NULL',
    "SELECT nextval('tickets'), nextval('unused'), setval('people_id_seq', 77, false)",
    "SELECT lo_unlink(4242), lo_put(4243, 0, 'smaller'), lo_from_bytea(5000, 'new')",
    "REVOKE SELECT ON LARGE OBJECT 4243 FROM PUBLIC",
    "INSERT INTO people (name, mood) VALUES ('Eve', 'sad');"
    "REFRESH MATERIALIZED VIEW counted; REFRESH MATERIALIZED VIEW unfilled",
    "VACUUM FULL people",
    "ANALYZE",
]
_CREATED = [
    "CREATE TABLE extra (id serial PRIMARY KEY, p bigint REFERENCES people); INSERT INTO extra (p) VALUES (1)",
    "CREATE SCHEMA more; CREATE TABLE more.t (x mood); CREATE VIEW more.v AS SELECT * FROM people",
    "CREATE TYPE colour AS ENUM ('red'); CREATE DOMAIN short AS text; CREATE TYPE pair AS (a integer, b colour)",
    "CREATE FUNCTION f() RETURNS integer LANGUAGE sql AS 'SELECT 1'; CREATE PROCEDURE p() LANGUAGE sql AS 'SELECT 1'",
    "CREATE INDEX further ON people (age); CREATE UNIQUE INDEX ON teams (captain)",
    "ALTER TABLE people ADD CONSTRAINT grown CHECK (age > 0); ALTER TABLE teams ADD CONSTRAINT one UNIQUE (captain)",
    "CREATE TRIGGER t BEFORE DELETE ON people FOR EACH ROW EXECUTE FUNCTION note()",
    "CREATE RULE r AS ON DELETE TO teams DO INSTEAD NOTHING; CREATE POLICY p ON players USING (true)",
    'CREATE EXTENSION pg_trgm; CREATE EXTENSION pgcrypto SCHEMA "Odd schema"',
    "CREATE MATERIALIZED VIEW mv AS SELECT * FROM names; CREATE SEQUENCE s;"
    "CREATE STATISTICS st ON at, what FROM events_old",
    "CREATE TABLE p PARTITION OF events FOR VALUES FROM ('2021-01-01') TO ('2022-01-01')",
    "CREATE AGGREGATE total (integer) (SFUNC = int4pl, STYPE = integer); CREATE CAST (mood AS integer) WITH INOUT",
    "CREATE TABLE t1 (x integer); CREATE TABLE t2 () INHERITS (t1)",
    "CREATE FUNCTION e() RETURNS event_trigger LANGUAGE plpgsql AS"
    " 'BEGIN RAISE EXCEPTION USING MESSAGE = ''no DDL''; END';"
    "CREATE EVENT TRIGGER no_ddl ON ddl_command_start EXECUTE FUNCTION e()",
]
_ALTERED = [
    "ALTER TABLE people ADD COLUMN extra integer",
    "ALTER TABLE people DROP COLUMN name CASCADE",
    "DROP TABLE players CASCADE",
    "DROP TYPE mood CASCADE",
    "ALTER TYPE mood ADD VALUE 'mad'",
    "ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'",
    "CREATE OR REPLACE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    'DROP SCHEMA "Odd schema" CASCADE',
    "DROP SCHEMA public CASCADE",
    "DROP SCHEMA public CASCADE; CREATE SCHEMA public; CREATE TABLE people (x integer)",
    "DROP TABLE events; CREATE TABLE events (x integer)",
    "DROP INDEX people_born; ALTER TABLE people RENAME TO folk",
    "ALTER TABLE people ALTER name DROP NOT NULL, ALTER age TYPE bigint, ALTER ratio DROP DEFAULT",
    "ALTER TABLE people DISABLE TRIGGER ALL",
    "ALTER TABLE players NO FORCE ROW LEVEL SECURITY; DROP POLICY none ON players",
    "REVOKE SELECT ON people FROM PUBLIC; GRANT CREATE ON SCHEMA public TO PUBLIC",
    "ALTER SEQUENCE tickets INCREMENT 3; COMMENT ON TABLE people IS 'others'",
    "ALTER TABLE events DETACH PARTITION events_old; ALTER TABLE child NO INHERIT parent",
    "ALTER DEFAULT PRIVILEGES REVOKE SELECT ON TABLES FROM PUBLIC",
    "DROP MATERIALIZED VIEW counted CASCADE; DROP VIEW names; SELECT lo_unlink(4242)",
    "ALTER TABLE teams ALTER captain SET STATISTICS 7, SET (fillfactor = 50); ALTER TABLE scratch SET LOGGED",
]


@pytest.mark.parametrize("deed", _ROWS)
def test_rows_come_back(full: Database, before: str, deed: str) -> None:
    full.run(deed)
    assert "rebuilt" not in full.restore()
    assert full.dump() == before
    assert full.restore() == "0 changed brought back"


@pytest.mark.parametrize("deed", _CREATED)
def test_what_was_created_since_is_dropped(full: Database, before: str, deed: str) -> None:
    full.run("INSERT INTO people (name) VALUES ('Eve')")
    full.run(deed)
    assert "created since dropped" in full.restore()
    assert full.dump() == before
    assert full.restore() == "0 changed brought back"


@pytest.mark.parametrize("deed", _ALTERED)
def test_what_was_altered_or_dropped_is_made_anew(full: Database, before: str, deed: str) -> None:
    full.run(deed)
    assert "rebuilt, since DDL changed it" in full.restore()
    full.reconnect()  # it has types of its own
    assert full.dump() == before
    full.run("CREATE TABLE another (x integer); TRUNCATE events, audit")
    full.restore()
    assert full.dump() == before


def test_what_the_dump_does_not_tell_comes_back_too(full: Database) -> None:
    # pg_dump computes materialized views anew, and says nothing of rights of rows that nobody may see.
    full.run(
        "INSERT INTO people (name, mood) VALUES ('Eve', 'sad');"
        "REFRESH MATERIALIZED VIEW counted; REFRESH MATERIALIZED VIEW unfilled"
    )
    full.restore()
    assert full.value("SELECT sum(people) FROM counted") == 3
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="has not been populated"):
        full.value("SELECT * FROM unfilled")
    assert full.value("SELECT nextval('tickets')") == 120
    full.restore()
    assert full.value("SELECT tgenabled FROM pg_trigger WHERE tgname = 'on_insert'") == "A"
    assert full.value("SELECT ev_enabled FROM pg_rewrite WHERE rulename = 'twice'") == "R"


@pytest.mark.parametrize("deed", ["DELETE FROM tasks", "ALTER TABLE tasks ADD COLUMN more text DEFAULT 'x'"])
def test_connected_clients_go_on_with_what_they_had_prepared(database: Database, deed: str) -> None:
    database.run("CREATE TABLE tasks (id serial PRIMARY KEY, state text)")
    database.run("INSERT INTO tasks (state) VALUES ('new'), ('done')")
    database.remember()
    client = database.connect()
    process = client.info.backend_pid
    ask = "SELECT id, state FROM tasks WHERE state = %s ORDER BY id"
    add = "INSERT INTO tasks (state) VALUES (%s) RETURNING id"

    def work() -> tuple[Any, Any]:
        return client.execute(ask, ("new",), prepare=True).fetchall(), client.execute(
            add, ("done",), prepare=True
        ).fetchone()

    first = work()
    for _ in range(3):
        database.run(deed)
        database.restore()
        assert work() == first
        assert database.restore() == "2 changed brought back"  # the table, its sequence
    assert client.info.backend_pid == process
    client.close()


def test_clients_that_know_types_by_number_are_disconnected_when_these_are_made_anew(database: Database) -> None:
    database.run("CREATE TYPE state AS ENUM ('new', 'done'); CREATE TABLE tasks (state state)")
    database.remember()
    with database.connect() as client:
        database.run("ALTER TABLE tasks ADD x integer")
        assert ", 2 clients disconnected" in database.restore()
        with pytest.raises(psycopg.errors.AdminShutdown):
            client.execute("SELECT 1")
    database.reconnect()
    with database.connect() as client:
        database.run("INSERT INTO tasks VALUES ('new')")
        database.restore()
        assert client.execute("SELECT count(*) FROM tasks WHERE state = 'new'::state").fetchone() == (0,)


def test_who_holds_a_lock_is_named_within_a_bound_and_nothing_is_changed(database: Database) -> None:
    database.run("CREATE TABLE t (x integer); CREATE TABLE u (x integer)")
    database.remember()
    database.run("INSERT INTO u VALUES (1)")
    with database.connect(autocommit=False, application_name="clerk") as holder:
        holder.execute("INSERT INTO t VALUES (1)")
        began = time.monotonic()
        with pytest.raises(
            DataError, match=r"could not be locked within 5 s: process \d+ \(clerk, .*idle in transaction"
        ):
            database.restore()
        assert time.monotonic() - began < 8
        assert database.value("SELECT count(*) FROM u") == 1
    assert database.restore() == "2 changed brought back"


def test_a_reader_in_a_transaction_is_in_nobodys_way(database: Database) -> None:
    database.run("CREATE TABLE t (x integer)")
    database.remember()
    with database.connect(autocommit=False) as reader:
        reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        database.run("INSERT INTO t VALUES (1)")
        assert reader.execute("SELECT count(*) FROM t").fetchone() == (1,)
        assert database.restore() == "1 changed brought back"
        assert reader.execute("SELECT count(*) FROM t").fetchone() == (1,)
    assert database.value("SELECT count(*) FROM t") == 0


def test_services_that_write_all_the_time_see_no_error(database: Database) -> None:
    database.run(
        "CREATE TABLE a (x integer); CREATE TABLE b (x integer); INSERT INTO a VALUES (0); INSERT INTO b VALUES (0)"
    )
    database.remember()
    ended, errors, done = threading.Event(), [], [0, 0]

    def write(number: int) -> None:
        with database.connect(autocommit=False) as client:
            while not ended.is_set():
                try:
                    client.execute("UPDATE b SET x = x + 1")
                    client.execute("INSERT INTO a VALUES (1)")
                    client.commit()
                    done[number] += 1
                except psycopg.Error as error:
                    errors.append(error)
                    return

    # Both in the order that the reset does not take: each could wait for it while it waits for them.
    threads = [threading.Thread(target=write, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(10):
            database.restore()
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert errors == []
    assert min(done) > 10
    database.restore()
    assert (database.value("SELECT array_agg(x) FROM a"), database.value("SELECT array_agg(x) FROM b")) == ([0], [0])


def test_what_no_schema_holds_is_refused_by_name(database: Database) -> None:
    database.run(f"CREATE ROLE {database.name}_reader")
    database.remember()
    for grant, how in (
        ("SELECT", "1 created since dropped"),
        (f"GRANT CREATE ON SCHEMA public TO {database.name}_more", "rebuilt"),
    ):
        database.run(f"CREATE ROLE {database.name}_more; {grant}")
        assert how in database.restore()
        assert database.value(f"SELECT to_regrole('{database.name}_more') IS NULL")
    database.run(f"ALTER ROLE {database.name}_reader CREATEDB")
    with pytest.raises(
        DataError, match=f"roles or settings outside its schemas were changed: {database.name}_reader altered"
    ):
        database.restore()
    database.run(f"DROP ROLE {database.name}_reader")


def test_a_view_that_was_behind_its_tables_is_refused(database: Database) -> None:
    database.run("CREATE TABLE t (x integer); CREATE MATERIALIZED VIEW v AS SELECT * FROM t; INSERT INTO t VALUES (1)")
    database.remember()
    assert database.restore() == "0 changed brought back"
    database.run("INSERT INTO t VALUES (2); REFRESH MATERIALIZED VIEW v")
    with pytest.raises(DataError, match=r"materialized view public\.v was behind its tables"):
        database.restore()
    assert database.value("SELECT count(*) FROM t") == 2


def test_without_what_was_remembered_it_is_refused(database: Database) -> None:
    database.run("CREATE TABLE t (x integer)")
    database.remember()
    database.run("UPDATE ephemera.ready SET dump = NULL; ALTER TABLE t ADD y integer")
    with pytest.raises(DataError, match="its schema was changed before it could be kept"):
        database.restore()
    database.run("DROP SCHEMA ephemera CASCADE")
    with pytest.raises(DataError, match='schema "ephemera" does not exist'):
        database.restore()


def test_schema_that_was_not_made_quite_as_it_was_is_told(database: Database) -> None:
    database.run("CREATE TABLE t (x integer)")
    database.remember()
    database.run("UPDATE ephemera.ready SET dump = dump || 'CREATE TABLE public.more ();'; ALTER TABLE t ADD y integer")
    with pytest.raises(DataError, match="was rebuilt, but differs from what it was: take the environment down"):
        database.restore()


def test_user_who_may_not_is_told(database: Database) -> None:
    user = f"{database.name}_weak"
    database.run(f"CREATE ROLE {user} LOGIN")
    weak = database.server.service("postgresql", {}, POSTGRES_DB=database.name, POSTGRES_USER=user)
    with pytest.raises(DataError, match='permission denied to set parameter "session_replication_role"'):
        DATA.remember(weak)
    database.run(f"DROP ROLE {user}")


def test_remembering_again_takes_the_later_state(database: Database) -> None:
    database.run("CREATE TABLE t (x integer)")
    database.remember()
    database.run("INSERT INTO t VALUES (1); ALTER TABLE t ADD y integer")
    database.remember()
    database.run("DROP TABLE t")
    database.restore()
    assert database.value("SELECT count(y) + count(*) FROM t") == 1


def test_what_was_remembered_is_there_after_the_server_was_killed() -> None:
    with running_server() as server:
        service = server.service("postgresql", {}, PGPASSWORD=PASSWORD)

        def sql(statement: str) -> str:
            deadline = time.monotonic() + READY_SECONDS
            while (done := service.exec(["psql", "-h", "127.0.0.1", "-U", USER, "-qAtc", statement]))[0] == 2:
                assert time.monotonic() < deadline, done
                time.sleep(0.05)
            return done[1].strip()

        assert sql("CREATE TABLE t (x integer); INSERT INTO t VALUES (1)") == ""
        DATA.remember(service)
        sql("INSERT INTO t VALUES (2)")
        server.container.kill()
        server.container.start()
        assert sql("SELECT sum(x) FROM t") == "3"
        assert DATA.restore(service, "") == "1 changed brought back"
        assert sql("SELECT sum(x) FROM t") == "1"
