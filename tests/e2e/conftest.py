"""What suites of several systems use."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import pytest

if TYPE_CHECKING:
    from ephemera.pytest_plugin.environments import RunningEnvironment

T = TypeVar("T")

_POLL_SECONDS = 0.05


@pytest.fixture(scope="session")
def eventually() -> Callable[[str, Callable[[], T | None]], T]:
    """``eventually("what", probe, timeout=10)``: the first answer of the probe that is not None or false."""

    def wait(what: str, probe: Callable[[], T | None], timeout: float = 10.0) -> T:
        deadline = time.monotonic() + timeout
        while not (answer := probe()):
            if time.monotonic() > deadline:
                pytest.fail(f"within {timeout:g} s not seen: {what}")
            time.sleep(_POLL_SECONDS)
        return answer

    return wait


@pytest.fixture(scope="session")
def inside() -> Callable[[RunningEnvironment, str, str], tuple[int, str]]:
    """``inside(environment, service, "id -u")``: what a shell in the service's container says, and its exit code."""

    def run(environment: RunningEnvironment, service: str, command: str) -> tuple[int, str]:
        code, output = environment.service(service).exec(["sh", "-c", command])
        return code, output.strip()

    return run
