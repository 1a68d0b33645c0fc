"""Fixtures: the services as processes, on databases of their own in a real PostgreSQL.

`TASKER_TEST_DATABASE_URL` names a server (made by `postgres/Dockerfile`) and a user who may create databases.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from chassis.testing import Process, needed, new_database
from live.harness import PREFIX, Tasker, new_tasker


@pytest.fixture(scope="session")
def server_url() -> str:
    return needed("TASKER_TEST_DATABASE_URL", "a PostgreSQL made by services/tasker/postgres/Dockerfile")


@pytest.fixture
def database_url(server_url: str) -> Iterator[str]:
    with new_database(server_url) as url:
        yield url


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Start a service by module and environment; it is killed after the test."""
    started: list[Process] = []

    def start(module: str, **environ: str) -> Process:
        started.append(Process(module, tmp_path, prefix=PREFIX, **environ))
        return started[-1]

    yield start
    for process in started:
        process.stop()


@pytest.fixture
def tasker(server_url: str, tmp_path: Path) -> Iterator[Tasker]:
    """Orchestration without a worker, for a test that breaks things."""
    with new_tasker(server_url, tmp_path) as tasker:
        yield tasker


@pytest.fixture(scope="session")
def shared(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tasker]:
    """Orchestration with two workers, for tests that break nothing."""
    with new_tasker(server_url, tmp_path_factory.mktemp("shared")) as tasker:
        tasker.worker("w1")
        tasker.worker("w2")
        yield tasker
