"""A project whose systems hold data: in components, and by an implementation of its own."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.data.postgres_server import Database, made, running_server
from tests.data.server import Server
from tests.driver_command import PROJECT, Ephemera, command_in

_ROOT = Path(__file__).resolve().parents[2]
_CATALOG = """
from ephemera.components import OpenSearch, Postgres, Redis
from ephemera import NO_DATA, Container, EngineImage, Exec, Option, System

POSTGRES, PYTHON = (EngineImage(name=name) for name in ("postgres", "python"))
_store = System("store", options={"revision": Option(1, "of the clerk")})
_search = System("search")
_files = System("files", options={"attic": Option("", "what brings its data back")})
SYSTEMS = (_store, _search, _files)
# What it makes at its start belongs to the state that is come back to. Then it works on, over the one connection.
CLERK = '''
psql -v ON_ERROR_STOP=1 -c "CREATE TABLE IF NOT EXISTS goods (name text PRIMARY KEY);
    CREATE TABLE IF NOT EXISTS beats (n serial);
    INSERT INTO goods VALUES ('widget') ON CONFLICT DO NOTHING"
while :; do echo "INSERT INTO beats DEFAULT VALUES;"; sleep 0.05; done | psql -q -v ON_ERROR_STOP=1
'''

@_store.program
def store(environment):
    postgres = Postgres("postgres", database="shop", user="shop")
    Redis("redis", persistent=True)
    Container("clerk",
        image=POSTGRES,
        ready=Exec(["psql", "-c", "SELECT 1 / count(*) FROM beats"]),
        variables={
            "PGHOST": "postgres", "PGUSER": "shop", "PGDATABASE": "shop",
            "REVISION": str(environment.option("revision")),
            "PGPASSWORD": environment.credential("postgres", "password"),
        },
        command=["bash", "-c", CLERK],
        needs=(postgres,),
        tmpfs={"/tmp": "size=1m", "/var/lib/postgresql/data": "size=1m"},
        run_as="postgres",
        memory_mb=64,
    )

@_search.program
def search(environment):
    settings = {"action.auto_create_index": "a*"}
    OpenSearch("search", heap_mb=400, memory_mb=900, settings=settings)

@_files.program
def files(environment):
    for name, data in (("shelf", "own:SHELF"), ("attic", str(environment.option("attic"))), ("cellar", NO_DATA)):
        Container(name,
            image=PYTHON,
            ready=Exec(["true"]),
            command=["python3", "-c", "import time; time.sleep(600)"],
            volumes={"/tmp": name},
            tmpfs={},
            run_as="65534",
            memory_mb=64,
            data=data,
        )
"""
_OWN = """
class Shelf:
    def remember(self, service):
        return service.exec(["sh", "-c", "cat /tmp/* 2>/dev/null || true"])[1]

    def restore(self, service, remembered):
        service.exec(["sh", "-c", "rm -f /tmp/*; cat > /tmp/book"], stdin=remembered)
        return "tidied"

SHELF = Shelf()
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server of PostgreSQL; modules of other servers have their own."""
    with running_server() as found:
        yield found


@pytest.fixture
def database(server: Server) -> Iterator[Database]:
    """An empty one on it."""
    with made(server) as found:
        yield found


@pytest.fixture
def ephemera(tmp_path: Path) -> Iterator[Ephemera]:
    """The command, in a checkout of that project."""
    source = tmp_path / "source"
    source.mkdir()
    for name in ("Pulumi.yaml", "__main__.py", "pyproject.toml", "pytest.ini"):
        shutil.copy(PROJECT / name, source)
    (source / "shop.py").write_text(_CATALOG)
    (source / "own.py").write_text(_OWN)
    (source / "tests").mkdir()
    with command_in(source, tmp_path) as command:
        yield dataclasses.replace(command, variables={**command.variables, "PYTHONPATH": str(_ROOT)})
