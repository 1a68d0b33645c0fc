"""Log lines of containers: when each was written, fit to be shown, and which of them look like errors."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from ephemera.contract.text import printable

_STAMP_LENGTH = 26  # microseconds: Python reads no more
_ERROR = re.compile(
    r"\b(?:ERROR|FATAL|CRITICAL|PANIC|SEVERE|Traceback \(most recent|panic:)|(?:Exception|Error)\b"
    r"|\"?level\"?[=:] ?\"?(?:error|fatal|critical|panic)\b"
)


class Line(NamedTuple):
    """One line; ``time`` in seconds since the epoch, by the engine's clock."""

    time: float
    text: str

    @property
    def error(self) -> bool:
        """Whether it looks like one of an error."""
        return _ERROR.search(self.text) is not None


def parse(log: str) -> list[Line]:
    """Lines of a log that the engine wrote with times; a line without one was written when the one before was."""
    lines: list[Line] = []
    time = 0.0
    for whole in log.split("\n"):
        stamp, _, text = whole.partition(" ")
        try:
            time = datetime.fromisoformat(stamp[:_STAMP_LENGTH].rstrip("Z") + "+00:00").timestamp()
        except ValueError:
            text = whole
        if whole:
            lines.append(Line(time, printable(text)))
    return lines


def within(lines: Iterable[Line], start: float, stop: float) -> list[Line]:
    """Those written between two times."""
    return [line for line in lines if start <= line.time <= stop]
