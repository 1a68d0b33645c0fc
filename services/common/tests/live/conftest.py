"""Fixtures: the service of the README as a process, on a database of its own.

`CHASSIS_TEST_DATABASE_URL` names a server and a user who may create databases.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from chassis.testing import Process, needed, new_database, python_path, wait_until

_PAGE = Path(__file__).resolve().parents[2] / "README.md"
_FILE = re.compile(r"(?ms)^`services/visits/src/([^`]+)`[^\n]*:\n\n```\w+\n(.*?)^```$")


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the service's package."""
    folder = tmp_path_factory.mktemp("src")
    for name, text in _FILE.findall(_PAGE.read_text(encoding="utf-8")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "visits" / "__init__.py").touch()
    return folder


@pytest.fixture(scope="session")
def server_url() -> str:
    return needed("CHASSIS_TEST_DATABASE_URL", "a PostgreSQL in which databases may be created")


@pytest.fixture
def database_url(server_url: str) -> Iterator[str]:
    with new_database(server_url) as url:
        yield url


@pytest.fixture
def start(source: Path, tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Start the service with these variables; it is killed after the test."""
    started: list[Process] = []

    def start(**environ: str) -> Process:
        given = {"PYTHONPATH": python_path(source), **environ}
        started.append(Process("visits", tmp_path, prefix="VISITS_", **given))
        return started[-1]

    yield start
    for process in started:
        process.stop()


@pytest.fixture
def visits(start: Callable[..., Process], database_url: str) -> Process:
    process = start(DATABASE_URL=database_url, LOG_LEVEL="debug")
    wait_until(process.healthy, "it is healthy")
    return process
