"""The local PostgreSQL image: the official one's interface, hardened, quick, and its data safe."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, LiteralString

import docker
import psycopg
import pytest

from ephemera.images import ensure
from ephemera.model.images import EngineImage

DEADLINE_SECONDS = 60.0
PASSWORD = "p'a\"s $s\\word"  # noqa: S105
Mounts = dict[str, dict[str, str]]
Start = Callable[..., "Server"]


class Server:
    """A container of the image on a loopback address of its own."""

    def __init__(
        self, client: docker.DockerClient, image: str, login: tuple[str, str], mounts: Mounts, options: dict[str, Any]
    ) -> None:
        self.name = f"test-postgres-{secrets.token_hex(4)}"
        self._client = client
        self._user, self._database = user, database = login
        self.volume = client.volumes.create(self.name)
        variables = {"POSTGRES_USER": user, "POSTGRES_DB": database, "POSTGRES_PASSWORD": PASSWORD}
        hardened = {
            "cap_drop": ["ALL"],
            "read_only": True,
            "init": True,
            "security_opt": ["no-new-privileges"],
            "tmpfs": {"/tmp": "", "/var/run/postgresql": ""},  # noqa: S108
            "mem_limit": "256m",
        }
        self.container = client.containers.create(
            image,
            name=self.name,
            ports={"5432/tcp": ("127.83.254.1", None)},
            volumes={self.name: {"bind": "/var/lib/postgresql/data"}, **mounts},
            **{**hardened, "environment": variables, **options},
        )

    def connect(self, password: str = PASSWORD) -> psycopg.Connection[tuple[object, ...]]:
        """A connection, as soon as the server takes one."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while True:
            self.container.reload()
            assert self.container.status == "running", self.logs()
            port = self.container.ports["5432/tcp"][0]["HostPort"]
            try:
                return psycopg.connect(
                    host="127.83.254.1",
                    port=port,
                    user=self._user,
                    dbname=self._database,
                    password=password,
                    connect_timeout=5,
                    autocommit=True,
                )
            except psycopg.OperationalError as error:
                if "password" in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def logs(self) -> str:
        return str(self.container.logs().decode())

    def remove(self) -> None:
        self.container.remove(force=True, v=True)
        self.volume.remove()


@pytest.fixture(scope="session")
def image() -> str:
    postgres = EngineImage(name="postgres")
    return ensure([postgres], "local")[postgres]


@pytest.fixture
def start(client: docker.DockerClient, image: str) -> Iterator[Start]:
    servers: list[Server] = []

    def make(user: str = "shop", database: str = "orders", mounts: Mounts | None = None, **options: Any) -> Server:
        server = Server(client, image, (user, database), mounts or {}, options)
        servers.append(server)
        server.container.start()
        return server

    yield make
    for server in servers:
        server.remove()


def one(connection: psycopg.Connection[tuple[object, ...]], query: LiteralString) -> object:
    row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]


@pytest.mark.parametrize(
    ("user", "database"), [("shop", "orders"), ("postgres", "postgres"), ("o'h \"x", "a-b"), ("x", "first_start")]
)
def test_user_database_and_password_are_as_asked(start: Start, user: str, database: str) -> None:
    server = start(user, database)
    with server.connect() as connection:
        assert one(connection, "SELECT current_user::text") == user
        assert one(connection, "SELECT current_database()::text") == database
        assert one(connection, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is True
        databases = {"postgres", "template0", "template1", database}
        assert {row[0] for row in connection.execute("SELECT datname FROM pg_database")} == databases
        # As in the official image, it is the only role.
        assert one(connection, "SELECT count(*) FROM pg_roles WHERE rolname !~ '^pg_'") == 1
        assert one(connection, "SHOW server_encoding") == "UTF8"
        connection.execute("CREATE EXTENSION pgcrypto")
    assert PASSWORD not in server.logs()


def test_a_wrong_password_is_refused(start: Start) -> None:
    server = start()
    server.connect().close()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        server.connect("wrong")


def test_it_does_not_run_as_root(start: Start) -> None:
    server = start()
    server.connect().close()
    owners = {row[0] for row in server.container.top(ps_args="-eo uid,pid")["Processes"]}
    assert owners == {"999"}


def test_data_survives_a_restart_and_a_kill(start: Start) -> None:
    server = start()
    with server.connect() as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS x")
    server.container.restart()
    with server.connect() as connection:
        connection.execute("INSERT INTO kept VALUES (2)")
    server.container.kill("KILL")
    server.container.start()
    with server.connect() as connection:
        assert one(connection, "SELECT sum(x) FROM kept") == 3


@pytest.mark.parametrize("number", ["TERM", "INT"])
def test_a_stop_is_quick_and_clean_with_clients_connected(start: Start, number: str) -> None:
    server = start()
    connection = server.connect()
    began = time.monotonic()
    server.container.kill(number)
    assert server.container.wait(timeout=DEADLINE_SECONDS)["StatusCode"] == 0
    assert time.monotonic() - began < 8  # the engine's own patience is ten seconds
    assert "database system is shut down" in server.logs()
    connection.close()


def test_scripts_run_once_before_anybody_can_connect(start: Start, tmp_path: Path) -> None:
    (tmp_path / "1.sql").write_text("CREATE TABLE seeded AS SELECT 1 AS x;")
    (tmp_path / "2.sh").write_text("psql -c 'INSERT INTO seeded VALUES (2)'")
    for script in tmp_path.iterdir():
        script.chmod(0o644)
    tmp_path.chmod(0o755)
    for folder in list(tmp_path.parents)[:2]:
        folder.chmod(0o755)
    server = start(mounts={str(tmp_path): {"bind": "/docker-entrypoint-initdb.d", "mode": "ro"}})
    with server.connect() as connection:
        assert one(connection, "SELECT sum(x) FROM seeded") == 3
    server.container.restart()
    with server.connect() as connection:
        assert one(connection, "SELECT sum(x) FROM seeded") == 3


def test_a_first_start_that_was_cut_short_begins_anew(start: Start, tmp_path: Path) -> None:
    """The first script fails after data was written; what the second start finds is the cluster as it was shipped."""
    script = tmp_path / "1.sh"
    script.write_text("psql -c 'CREATE TABLE once (x int)'; [[ -e /tmp/again ]]")
    script.chmod(0o644)
    for folder in list(script.parents)[:3]:
        folder.chmod(0o755)
    server = start(mounts={str(tmp_path): {"bind": "/docker-entrypoint-initdb.d", "mode": "ro"}})
    assert server.container.wait(timeout=DEADLINE_SECONDS)["StatusCode"] != 0
    script.write_text("psql -c 'CREATE TABLE once (x int)'")
    server.container.start()
    with server.connect() as connection:
        assert one(connection, "SELECT count(*) FROM once") == 0


def test_settings_are_passed_to_the_server(start: Start) -> None:
    server = start(command=["-c", "fsync=off"])
    with server.connect() as connection:
        assert one(connection, "SHOW fsync") == "off"


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, "POSTGRES_PASSWORD is empty"),
        ({"POSTGRES_PASSWORD": "a\nb"}, "POSTGRES_PASSWORD holds a line break"),
        ({"POSTGRES_PASSWORD": "x", "POSTGRES_INITDB_ARGS": "-k"}, "POSTGRES_INITDB_ARGS is set"),
    ],
)
def test_what_it_cannot_do_is_refused_in_one_line(start: Start, environment: dict[str, str], message: str) -> None:
    server = start(environment=environment)
    assert server.container.wait(timeout=DEADLINE_SECONDS)["StatusCode"] == 1
    assert message in server.logs()
    assert len(server.logs().splitlines()) == 1
