from __future__ import annotations

import json

import pytest

from ephemera.driver.in_network.account import read

_TOLD = {"exit_code": 1, "counts": {"failed": 1}, "out_of_memory": False, "tests": []}


def test_an_account_is_read() -> None:
    told = read(json.dumps({"ephemera": _TOLD}).encode())
    assert told is not None
    assert (told.exit_code, told.counts, told.missing) == (1, {"failed": 1}, ())


@pytest.mark.parametrize(
    "line",
    [
        b"Traceback (most recent call last):",
        b"{",
        b'{"exit_code": 0}',
        b'{"ephemera": {"exit_code": "no number"}}',
        b'{"ephemera": {"counts": {"passed": []}}}',
        b'{"ephemera": {"tests": [{"nodeid": 1}]}}',
        b'{"ephemera": ' + b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_what_is_none_is_said_by_somebody_else(line: bytes) -> None:
    assert read(line) is None
