"""Fixtures: the double as a process, started once, normal again for each test."""

from collections.abc import Callable, Iterator

import pytest
from chassis.testing import wait_until
from live.harness import Double


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Double]]:
    """Start a double with more variables; it is killed at the end."""
    started: list[Double] = []
    logs = tmp_path_factory.mktemp("logs")

    def start(**environ: str) -> Double:
        started.append(Double(logs, **environ))
        wait_until(started[-1].healthy, "the double is healthy")
        return started[-1]

    yield start
    for double in started:
        double.openai.close()
        double.stop()


@pytest.fixture(scope="session")
def process(start: Callable[..., Double]) -> Double:
    return start()


@pytest.fixture
def double(process: Double) -> Double:
    """The one double, behaving normally, with nothing seen."""
    process.http.delete("/admin/behaviour").raise_for_status()
    process.http.delete("/admin/requests").raise_for_status()
    return process
