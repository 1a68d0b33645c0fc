"""olav up and tested as a person does it: every named test passes, with OpenSearch and without; times are printed."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Ephemera


@pytest.mark.parametrize(
    ("what", "arguments", "tests"),
    [
        ("the 18 named tests", ["--", "-k", "test_langserve_api or test_api_basic"], 18),
        ("the 6 basic tests, without OpenSearch", ["--only", "olav-server", "--", "-m", "basic"], 6),
    ],
)
def test_olav_is_up_and_tested(
    checkout: Ephemera, capsys: pytest.CaptureFixture[str], what: str, arguments: list[str], tests: int
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
