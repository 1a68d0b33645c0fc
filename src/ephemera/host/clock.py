"""The time, also while a test has stopped or set Python's clock, as freezegun and time-machine do.

A lease that was written in such a test must not look as old as the test says, and a wait must end at its deadline.
"""

from __future__ import annotations

import sys
import time

# The kernel's copy of the wall clock, a few milliseconds coarse. Such tools replace `time.time` or, in C, what
# `clock_gettime` answers for the wall clock itself; neither of them touches this one.
_COARSE = 5 if sys.platform == "linux" else time.CLOCK_REALTIME
_COARSENESS_NANOSECONDS = 100_000_000


def now() -> float:
    """Seconds since the epoch."""
    return now_ns() / 1e9


def now_ns() -> int:
    """Nanoseconds since the epoch."""
    fine, coarse = time.clock_gettime_ns(time.CLOCK_REALTIME), time.clock_gettime_ns(_COARSE)
    return fine if abs(fine - coarse) < _COARSENESS_NANOSECONDS else coarse


def stamp() -> str:
    """Date and time in UTC, for a name that sorts by them: ``20260131T235959Z``."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now()))


def monotonic() -> float:
    """Seconds since some moment; comparable between processes, and with :func:`time.monotonic`."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)
