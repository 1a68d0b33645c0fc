"""olav within the times that it is to be up and tested in: measured, printed, and held to."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Ephemera

_UP_SECONDS = 60.0


@pytest.mark.parametrize(
    ("what", "arguments", "tests", "seconds"),
    [
        ("the 18 named tests", ["--", "-k", "test_langserve_api or test_api_basic"], 18, 45.7),
        ("the 6 basic tests, without OpenSearch", ["--only", "olav-server", "--", "-m", "basic"], 6, 12.3),
    ],
)
def test_olav_is_up_and_tested_in_time(
    checkout: Ephemera,
    capsys: pytest.CaptureFixture[str],
    what: str,
    arguments: list[str],
    tests: int,
    seconds: float,
) -> None:
    done = checkout("run", "olav", "--output", "json", *arguments)
    assert done.code == 0, done.err
    document: dict[str, Any] = done.json
    took = document["seconds"]
    with capsys.disabled():
        print(f"\nolav: up in {took['up']:.1f} s, {what} in {took['tests']:.1f} s")
    counts = document["tests"]
    assert (counts["passed"], counts["skipped"]) == (tests, 0)
    assert document["leftovers"] == []
    assert took["tests"] < seconds
    assert took["up"] < _UP_SECONDS
