from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

import pytest

from ephemera.resources import given


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.001, "1ms"),
        (0.0015, "1.5ms"),
        (0.5, "500ms"),
        (1, "1s"),
        (1.5, "1.5s"),
        (59.999, "59.999s"),
        (60, "1m0s"),
        (60.25, "1m0.25s"),
        (90, "1m30s"),
        (3600, "1h0m0s"),
        (3661.5, "1h1m1.5s"),
        (86400, "24h0m0s"),
    ],
)
def test_duration_is_spelt_as_go_prints_it(seconds: float, text: str) -> None:
    assert given.duration(seconds) == text


def _read_back(given: str) -> str:
    """The text in the provider's state (``nanoInt64ToDecimalString``)."""
    text = f"{Decimal(given):.9f}"
    if text.count("0") == 9:
        return str(Decimal(given).quantize(Decimal("0.1"), ROUND_HALF_UP))
    return text.rstrip("0")


@pytest.mark.parametrize(
    "cores", [0.01, 0.02, 0.05, 0.09, 0.1, 0.25, 0.3, 1 / 3, 1, 1.05, 1.5, 2, 10, 10.5, 20.05, 100]
)
def test_cpus_arrive_as_they_are_and_are_read_back_as_they_were_given(cores: float) -> None:
    text = given.cpus(cores)
    assert abs(float(text) - cores) < 2e-9
    assert _read_back(text) == text
