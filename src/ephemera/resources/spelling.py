"""Values as the provider spells what it reads back: one spelt otherwise would be a difference at every ``up``."""

from __future__ import annotations

_NANOSECONDS = 10**9
_NANOSECONDS_IN_MILLISECOND = 10**6


def duration(seconds: float) -> str:
    """Return a duration as Go's ``Duration.String`` prints it: ``500ms``, ``1.5s``, ``1m30s``, ``1h0m0s``, ``0s``.

    ``seconds``: 0, or a millisecond or more; precise to the nanosecond.
    """
    nanoseconds = round(seconds * _NANOSECONDS)
    if 0 < nanoseconds < _NANOSECONDS:
        return f"{_decimal(nanoseconds, _NANOSECONDS_IN_MILLISECOND)}ms"
    whole, fraction = divmod(nanoseconds, 60 * _NANOSECONDS)
    hours, minutes = divmod(whole, 60)
    rest = f"{_decimal(fraction, _NANOSECONDS)}s"
    if hours:
        return f"{hours}h{minutes}m{rest}"
    return f"{minutes}m{rest}" if minutes else rest


def cpus(cores: float) -> str:
    """Return a limit of CPUs: nine decimals without trailing zeros.

    The provider rounds a text with exactly nine zeros to one decimal (helpers.go, ``nanoInt64ToDecimalString``): right
    for 1.0, but 0.1 for 0.05. Such a limit is a billionth larger here, less than the kernel's unit of time resolves.
    """
    text = f"{cores:.9f}"
    if text.count("0") != 9:
        return text.rstrip("0")
    short = f"{cores:.1f}"
    return short if float(short) == float(text) else f"{cores + 1e-9:.9f}"


def _decimal(amount: int, unit: int) -> str:
    whole, fraction = divmod(amount, unit)
    digits = str(fraction).rjust(len(str(unit)) - 1, "0").rstrip("0")
    return f"{whole}.{digits}" if digits else str(whole)
