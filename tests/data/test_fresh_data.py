"""``ephemera_fresh_data``, ``environment.database()``: workers share one environment, and none is in another's way."""

from __future__ import annotations

import re

from tests.driver_command import Ephemera

_MIXED = """
import pytest, time

def _names(client):
    return [row[0] for row in client.execute("SELECT name FROM goods ORDER BY 1")]

@pytest.mark.parametrize("number", range(6))
def test_alone(environment, ephemera_fresh_data, number):
    client = environment.postgres()
    assert _names(client) == ["widget"]
    assert client.execute("SELECT to_regclass('made')").fetchone() == (None,)
    client.execute("CREATE TABLE made (x integer)")
    for step in range(10):
        client.execute("INSERT INTO goods VALUES (%s)", (f"{number} {step}",))
        time.sleep(0.02)
    assert _names(client) == sorted(["widget", *(f"{number} {step}" for step in range(10))])

@pytest.mark.parametrize("number", range(12))
def test_together(environment, number):
    client = environment.postgres()
    client.execute("INSERT INTO goods VALUES (%s)", (f"together {number}",))
    for _ in range(5):
        assert f"together {number}" in _names(client)
        time.sleep(0.02)

@pytest.mark.parametrize("number", range(6))
def test_own_database(environment, number):
    database = environment.database(name_prefix="own")
    client = database.connect()
    assert _names(client) == ["widget"]
    client.execute("DELETE FROM goods")
    assert number != 3, "as it should"

def test_own_database_in_a_block(environment):
    with environment.database() as database:
        assert "***:***@" in repr(database)
        assert database.url.partition("://")[2].split("@")[0].split(":")[1] not in repr(database)
        name = database.name
    found = environment.postgres().execute("SELECT FROM pg_database WHERE datname = %s", (name,)).fetchone()
    assert found is None

@pytest.mark.usefixtures("ephemera_fresh_data")
def test_last(environment):
    # A worker that is at its own now would hold the data: none is, so all of those that have ended are gone.
    left = environment.postgres().execute("SELECT datname FROM pg_database WHERE datname ~ '^(own|test)_'").fetchall()
    assert left == []
"""
_SEED = """
_store.seed = "shop:seed"

def seed(environment):
    environment.postgres().execute("INSERT INTO goods VALUES ('seeded')")
"""
_SEEDED = """
import os, pytest

@pytest.mark.parametrize("number", range(2))
def test_fresh(environment, ephemera_fresh_data, number):
    client = environment.postgres()
    assert client.execute("SELECT string_agg(name, ',' ORDER BY name) FROM goods").fetchone() == ("seeded,widget",)
    client.execute("TRUNCATE goods")

def test_clone(environment):
    client = environment.database().connect()
    assert client.execute("SELECT string_agg(name, ',' ORDER BY name) FROM goods").fetchone() == ("seeded,widget",)

def test_is_killed_with_a_database_of_its_own(environment):
    environment.database(name_prefix="lost")
    os._exit(9)

def test_factory(environment_factory):
    environment = environment_factory(seed=False)
    environment.postgres().execute("INSERT INTO goods VALUES ('more')")
    environment.remember()
    environment.postgres().execute("DELETE FROM goods")
    environment.reset("postgres")
    assert environment.postgres().execute("SELECT count(*) FROM goods").fetchone() == (2,)

def test_wrong_names(environment):
    from ephemera.model.errors import InputError
    with pytest.raises(InputError, match="name_prefix 'My-db' is not valid"):
        environment.database(name_prefix="My-db")
    with pytest.raises(InputError, match="service 'redis' makes no databases"):
        environment.database("redis")
"""
_WAITS = """
import subprocess, sys

def test_in_use(environment):
    command = [sys.executable, "-m", "ephemera.cli.main", "reset", environment.stack]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert f"tests are using the data of {environment.stack}" in done.stderr
"""
_REFUSED = """
def test_refused(environment, ephemera_fresh_data):
    pass

def test_others_run(environment):
    pass
"""


def test_workers_that_share_an_environment_do_not_disturb_each_other(ephemera: Ephemera) -> None:
    (ephemera.project / "tests" / "test_web.py").write_text(_MIXED)
    done = ephemera.pytest("tests", "-n", "3", "-q")
    assert re.search(r"1 failed, 25 passed", done.out), done.out
    assert "number != 3" in done.out
    assert "nothing left" in done.out
    assert ephemera.left() == []


def test_seed_belongs_to_the_state_that_is_come_back_to(ephemera: Ephemera) -> None:
    with (ephemera.project / "shop.py").open("a") as file:
        file.write(_SEED)
    (ephemera.project / "tests" / "test_web.py").write_text(_SEEDED)
    done = ephemera.pytest("tests", "-n", "2", "-q")
    assert re.search(r"1 failed, 5 passed", done.out), done.out
    assert "crashed while running" in done.out
    assert ephemera.left() == []


def test_reset_while_tests_run_is_refused(ephemera: Ephemera) -> None:
    (ephemera.project / "tests" / "test_web.py").write_text(_WAITS)
    done = ephemera.pytest("tests", "-q")
    assert done.code == 0, done.out


def test_fresh_data_that_cannot_be_had_fails_only_who_asks_for_it(ephemera: Ephemera) -> None:
    (ephemera.project / "tests" / "test_web.py").write_text(_REFUSED)
    (ephemera.project / "tests" / "conftest.py").write_text(
        "import pytest\ndef pytest_collection_modifyitems(items):\n"
        "    for item in items: item.add_marker(pytest.mark.environment('files'))\n"
    )
    done = ephemera.pytest("tests", "-q")
    assert re.search(r"1 passed, 1 error", done.out), done.out
    assert re.search(r"nothing can bring the data of 'attic' \(volume files-.*-attic\) back", done.out)
    assert ephemera.left() == []
