"""How long a test waits for data of its own, in an environment of the system that ``BENCH_SYSTEM`` names. Each time is
a line of JSON in the file that ``BENCH_TIMES`` names."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ephemera.pytest_plugin.environments import RunningEnvironment

# Of both systems: the one whose environment is measured.
pytestmark = pytest.mark.environment(os.environ["BENCH_SYSTEM"])

_TIMES = 20
_SEEDED = 1000


def _timed(measure: str, work: Callable[[], object]) -> None:
    started = time.perf_counter()
    work()
    seconds = time.perf_counter() - started
    with Path(os.environ["BENCH_TIMES"]).open("a") as file:
        file.write(json.dumps({"measure": measure, "seconds": seconds}) + "\n")


@pytest.mark.parametrize("number", range(_TIMES))
def test_data_comes_back(environment: RunningEnvironment, number: int) -> None:
    with environment.postgres() as connection:
        connection.execute("DELETE FROM bench_items WHERE number % 2 = 0")
        connection.execute("INSERT INTO bench_items SELECT generate_series(2000, 2499), 'more'")
    if "redis" in environment.outputs.services:
        environment.service("redis").exec(["redis-cli", "SET", f"key-{number}", "value"])
    _timed("reset", environment.reset)
    with environment.postgres() as connection:
        assert connection.execute("SELECT count(*), max(number) FROM bench_items").fetchone() == (_SEEDED, _SEEDED)


@pytest.mark.parametrize("number", range(_TIMES))
def test_database_of_its_own(environment: RunningEnvironment, number: int) -> None:
    _timed("database", lambda: environment.database(name_prefix=f"bench_{number}"))
    with environment.database().connect() as connection:
        assert connection.execute("SELECT count(*) FROM bench_items").fetchone() == (_SEEDED,)
        connection.execute("DELETE FROM bench_items")
