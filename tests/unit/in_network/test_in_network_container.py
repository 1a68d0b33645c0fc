from __future__ import annotations

import pytest

from ephemera.in_network.runner_container import read


def test_an_account_is_read() -> None:
    account = read(b'ephemera {"exit_code": 1, "counts": {"failed": 1}, "tests": []}')
    assert account is not None
    assert (account.exit_code, account.counts, account.missing) == (1, {"failed": 1}, ())


@pytest.mark.parametrize(
    "line",
    [
        b"Traceback (most recent call last):",
        b"ephemera {",
        b'{"exit_code": 0}',
        b'ephemera {"exit_code": "no number"}',
        b'ephemera {"counts": {"passed": []}}',
        b'ephemera {"tests": [{"nodeid": 1}]}',
        b"ephemera " + b"[" * 100_000,
        b"ephemera \xff\xfe",
    ],
)
def test_other_lines_are_none(line: bytes) -> None:
    assert read(line) is None
