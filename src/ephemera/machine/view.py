"""Progress on stderr: lines that renew themselves on a terminal, plain lines otherwise."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TextIO

_PLAIN_EVERY_SECONDS = 30.0
_NAME_WIDTH = 20


@dataclass
class _State:
    began: float = field(default_factory=time.monotonic)
    ended: float | None = None
    line: str = ""
    error: str | None = None
    told: float = field(default_factory=time.monotonic)

    def seconds(self) -> float:
        return (self.ended or time.monotonic()) - self.began


def view_for(stream: TextIO = sys.stderr) -> LiveView | PlainView:
    """Return the view that suits the stream."""
    return LiveView(stream) if stream.isatty() else PlainView(stream)


class PlainView:
    """One line when a step starts and ends, and one every half minute in between."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._states: dict[str, _State] = {}

    def started(self, name: str) -> None:
        self._states[name] = _State()
        self._print(f"{name}: started")

    def said(self, name: str, line: str) -> None:
        self._states[name].line = line

    def finished(self, name: str, error: str | None) -> None:
        state = self._states.pop(name)
        self._print(f"{name}: {'done' if error is None else 'failed'} after {state.seconds():.1f} s")

    def refresh(self) -> None:
        for name, state in list(self._states.items()):
            if time.monotonic() - state.told >= _PLAIN_EVERY_SECONDS:
                state.told = time.monotonic()
                self._print(f"{name}: {state.seconds():.0f} s, {state.line}")

    def _print(self, line: str) -> None:
        print(line, file=self._stream, flush=True)


class LiveView:
    """One line a step, with state, time and what it said last."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._states: dict[str, _State] = {}
        self._drawn = 0
        self._lock = threading.Lock()

    def started(self, name: str) -> None:
        with self._lock:
            self._states[name] = _State()
            self._draw()

    def said(self, name: str, line: str) -> None:
        # Drawn at the next refresh: a build says hundreds of lines a second.
        self._states[name].line = line

    def finished(self, name: str, error: str | None) -> None:
        with self._lock:
            self._states[name].ended = time.monotonic()
            self._states[name].error = error
            self._draw()

    def refresh(self) -> None:
        with self._lock:
            self._draw()

    def _draw(self) -> None:
        width = shutil.get_terminal_size().columns
        up = f"\x1b[{self._drawn}A" if self._drawn else ""
        lines = [self._line(name, state)[: width - 1] for name, state in self._states.items()]
        self._stream.write(up + "".join(f"\r\x1b[2K{line}\n" for line in lines))
        self._stream.flush()
        self._drawn = len(lines)

    @staticmethod
    def _line(name: str, state: _State) -> str:
        mark = "…" if state.ended is None else "✓" if state.error is None else "✗"
        said = state.line if state.ended is None else ""
        printable = "".join(character if character.isprintable() else " " for character in said)
        return f"{mark} {name:<{_NAME_WIDTH}} {state.seconds():6.1f} s  {printable}"
