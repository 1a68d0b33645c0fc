"""The time, while a test has stopped Python's."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from ephemera.home import leases
from ephemera.home.locks import LockTimeoutError, locked
from ephemera.host import clock
from tests.unit.doubles import lease_of

_LONG_AGO = 1_000_000_000.0


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's clocks, as freezegun replaces them."""
    for name, value in (("time", _LONG_AGO), ("monotonic", 5.0)):
        monkeypatch.setattr(time, name, lambda value=value: value)
        monkeypatch.setattr(time, f"{name}_ns", lambda value=value: int(value * 1e9))


def test_it_is_the_machines() -> None:
    assert abs(clock.now() - time.time()) < 1
    assert abs(clock.monotonic() - time.monotonic()) < 1


def test_stopped_clock_stops_nothing_of_ours(stopped: None) -> None:
    assert time.time() == _LONG_AGO
    assert clock.now() > _LONG_AGO + 1
    assert clock.now_ns() > (_LONG_AGO + 1) * 1e9
    assert clock.stamp() > "2002", "it was 2001 then"
    before = clock.monotonic()
    while clock.monotonic() == before:
        pass
    assert clock.monotonic() > before


def test_wall_clock_that_is_set_in_c_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.clock_gettime_ns
    pretended = int(_LONG_AGO * 1e9)
    monkeypatch.setattr(
        time, "clock_gettime_ns", lambda clock: pretended if clock == time.CLOCK_REALTIME else real(clock)
    )
    assert clock.now() > _LONG_AGO + 1


def test_lease_that_is_used_while_the_clock_is_stopped_does_not_expire(stopped: None) -> None:
    leases.write(lease_of("shop-main", used_at=0.0, expires_at=0.0))
    touched = leases.touch("shop-main")
    assert touched is not None
    assert touched.expires_at > clock.now()


def test_wait_for_a_lock_ends_while_the_clock_is_stopped(stopped: None, tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locked(path), pytest.raises(LockTimeoutError), locked(path, timeout_seconds=0.05):
        pass
