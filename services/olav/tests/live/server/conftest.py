"""Fixtures: the server as a process, on a database of its own in a real PostgreSQL, and a real Redis.

`OLAV_TEST_DATABASE_URL` names a server and a user who may create databases; `OLAV_TEST_REDIS_URL` a Redis whose
database is emptied.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from chassis.testing import needed, wait_until
from live.server.harness import Server, new_database
from redis import Redis


@pytest.fixture(scope="session")
def server_url() -> str:
    return needed("OLAV_TEST_DATABASE_URL", "a PostgreSQL in which databases may be created")


@pytest.fixture(scope="session")
def redis_url() -> str:
    return needed("OLAV_TEST_REDIS_URL", "a Redis whose database may be emptied")


@pytest.fixture(scope="session")
def database_url(server_url: str) -> Iterator[str]:
    with new_database(server_url) as url:
        yield url


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    """An empty one: no wrong password is remembered, nobody is logged in."""
    with Redis.from_url(redis_url, decode_responses=True) as connected:
        connected.flushdb()
        yield connected


@pytest.fixture
def start(tmp_path: Path, database_url: str, redis_url: str) -> Iterator[Callable[..., Server]]:
    """Start a server of a test's own with more of an environment; it is killed after the test."""
    started: list[Server] = []

    def start(**environ: str) -> Server:
        server = Server(tmp_path, **{"DATABASE_URL": database_url, "REDIS_URL": redis_url, **environ})
        started.append(server)
        wait_until(server.answers, "the server answers")
        return server

    yield start
    for server in started:
        server.stop()


@pytest.fixture(scope="session")
def shared(database_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("shared"), DATABASE_URL=database_url, REDIS_URL=redis_url)
    try:
        wait_until(server.answers, "the server answers")
        yield server
    finally:
        server.stop()


@pytest.fixture
def server(shared: Server, redis: Redis) -> Server:
    """Four workers, for tests that break nothing."""
    return shared
