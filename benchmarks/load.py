"""How busy the machine was before and after something was measured."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_WINDOW_SECONDS = 0.2
_PATIENCE_SECONDS = 5.0
QUIET = 0.15
"""A machine is quiet when at most this part of its processors' time is taken while nothing is measured."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """``busy``: part of the time of all processors, 0 to 1, over a fifth of a second; ``average``: of one minute."""

    busy: float
    average: float

    @property
    def quiet(self) -> bool:
        """Whether what is measured now means anything."""
        return self.busy <= QUIET


def read() -> Load:
    """The load now."""
    busy, total = _times()
    time.sleep(_WINDOW_SECONDS)
    busy_after, total_after = _times()
    return Load(busy=(busy_after - busy) / max(1, total_after - total), average=os.getloadavg()[0])


def settled() -> Load:
    """The load once what was measured before has ebbed away, or after 5 s of waiting for it."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not (load := read()).quiet and time.monotonic() < deadline:
        pass
    return load


def summary(loads: Sequence[Load]) -> dict[str, float | int | bool]:
    """Of the loads before each measurement: whether the run is to be trusted, and why not."""
    loud = [load for load in loads if not load.quiet]
    return {
        "quiet": not loud,
        "measurements": len(loads),
        "not_quiet": len(loud),
        "busiest": round(max((load.busy for load in loads), default=0.0), 3),
        "highest_average": round(max((load.average for load in loads), default=0.0), 2),
    }


def _times() -> tuple[int, int]:
    fields = [int(value) for value in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    # user nice system idle iowait irq softirq steal: time that the host took away is time that was not ours.
    idle = fields[3] + fields[4]
    return sum(fields) - idle, sum(fields)
