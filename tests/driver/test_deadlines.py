"""Deadlines hold, whatever a probe does."""

from __future__ import annotations

import time

import pytest

from .conftest import Ephemera

# Far from the deadline of three seconds, and from the ten minutes that the probe would take.
_SECONDS = 90


def test_probe_that_hangs_once_is_asked_again(ephemera: Ephemera) -> None:
    done = ephemera("up", "slow", "-c", "probe=once")
    assert done.code == 0, done.err
    assert ephemera("status").code == 0
    assert ephemera("down").code == 0
    assert ephemera.left() == []


@pytest.mark.parametrize("probe", ["always", "trickle"])
def test_gate_ends_when_its_time_is_over(ephemera: Ephemera, probe: str) -> None:
    started = time.monotonic()
    done = ephemera("up", "slow", "-c", f"probe={probe}", "-c", "ready_seconds=3")
    assert time.monotonic() - started < _SECONDS
    assert done.code == 3
    kind = {"always": "Exec, without an answer within 1 s", "trickle": "Http"}[probe]
    assert f"service 'web' was not ready within 3 s ({kind}" in done.err
    assert ephemera.left() == []


def test_program_of_plain_pulumi_ends_although_its_probe_hangs(ephemera: Ephemera) -> None:
    stack = ephemera.stack("slow")
    assert ephemera.pulumi("stack", "init", stack).code == 0
    for key, value in (("system", "slow"), ("branch", "main"), ("probe", "always"), ("ready_seconds", "3")):
        assert ephemera.pulumi("config", "set", f"ephemera:{key}", value, "--stack", stack).code == 0
    started = time.monotonic()
    done = ephemera.pulumi("up", "--yes", "--skip-preview", "--stack", stack)
    assert time.monotonic() - started < _SECONDS
    assert "service 'web' was not ready within 3 s" in done.out + done.err
    assert ephemera("down", stack).code == 0
    assert ephemera.left() == []
