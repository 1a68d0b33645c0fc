"""Where the time of a command went: its events with their times, and how a timeline is shown."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ephemera.cli.columns import Columns
from ephemera.cli.console import Screen
from ephemera.contract.progress import Event
from ephemera.driver import timeline
from ephemera.driver.timeline import Segment, Timeline

_LEAST_BAR, _MOST_BAR = 16, 100
_LEAST_NAME, _MOST_NAME = 12, 30
# All columns but the name and the bar, and the room between columns.
_COLUMNS = 1 + len("replace") + 3 * len("00.00 s") + 7 * 2
# What is less, and is no change, is only counted.
_LEAST_SHARE = 0.01
_NO_CHANGE = ("same", "gate", "wait", "phase")
_STYLES = {"wait": "dim", "gate": "yellow", "phase": "cyan", "delete": "red", "": "green"}
_MARKS = {"wait": "·", "gate": "▒", "phase": "█", "delete": "▚", "": "█"}
_ASCII_MARKS = {"wait": ".", "gate": "=", "phase": "#", "delete": "x", "": "#"}
_ORDER = ("wait", "gate", "delete", "", "phase")


class Stopwatch:
    """Takes a command's events, each with the time at which it was."""

    def __init__(self) -> None:
        self._started = _process_start()
        self._events: list[Event] = []

    def phase(self, name: str) -> None:
        """From now on the command does something else."""
        self._note(timeline.phase(name))

    def noting(self, report: Callable[[Event], None]) -> Callable[[Event], None]:
        """``report``, with every event noted as it comes."""

        def noted(event: Event) -> None:
            self._note(event)
            report(event)

        return noted

    def timeline(self) -> Timeline:
        """From the process's start until now."""
        return timeline.build(self._events, self._started, time.monotonic())

    def _note(self, event: Event) -> None:
        self._events.append({"at": time.monotonic(), **event})


def show(screen: Screen, found: Timeline) -> None:
    """Print what took time as bars on one axis, then the critical path with every part's share."""
    screen.out.print(bars(found, screen.out.width, unicode=screen.out.encoding.startswith("utf")))
    screen.table(critical_path(found))


def bars(found: Timeline, width: int, *, unicode: bool = True) -> Table:
    """A row for each phase, resource and service that changed or took its time; ``width``: of the terminal."""
    marks = _MARKS if unicode else _ASCII_MARKS
    rows = _rows(found.segments)
    shown = [parts for parts in rows if any(_tells(found, part) for part in parts)]
    names = max((len(_label(parts)) for parts in shown), default=0)
    names = max(_LEAST_NAME, min(names, _MOST_NAME, width - _COLUMNS - _LEAST_BAR))
    room = max(_LEAST_BAR, min(_MOST_BAR, width - _COLUMNS - names))
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("", no_wrap=True, width=1)
    table.add_column("what", no_wrap=True, overflow="ellipsis", width=names)
    table.add_column("did", no_wrap=True)
    for title in ("waited", "took", "gate"):
        table.add_column(title, justify="right", no_wrap=True)
    scale = f"{found.seconds:.2f} s"
    table.add_column(f"0{scale:>{room - 1}}", no_wrap=True, width=room)
    for parts in shown:
        table.add_row(
            "*" if any(part.critical for part in parts) else "",
            escape(_label(parts)),
            _done(parts),
            *(_sum(parts, kinds) for kinds in (("wait",), None, ("gate",))),
            _bar(parts, found.seconds, room, marks),
        )
    if left_out := len(rows) - len(shown):
        table.caption, table.caption_justify = f"and {left_out} unchanged or under {_LEAST_SHARE:.0%}", "left"
    return table


def critical_path(found: Timeline) -> Columns:
    """What the command took that long for: each part, how long, and its share of the whole. Short ones are summed up,
    and so are the gaps between parts, in which the engine compares one resource with its state."""
    table = Columns("*", "critical path", f"{'seconds':>8}", f"{'share':>6}")
    long = [part for part in found.path if found.share(part) >= _LEAST_SHARE]
    for part in long:
        name = f"gap before {_named(part)}" if part.kind == "gap" else f"{_named(part)} {part.kind}"
        name = _named(part) if part.kind == "phase" else name
        table.add_row("", escape(name), f"{part.seconds:8.3f}", f"{found.share(part):6.1%}")
    short = [part for part in found.path if part not in long]
    for name, parts in (
        ("shorter ones", [part for part in short if part.kind != "gap"]),
        ("short gaps", [part for part in short if part.kind == "gap"]),
    ):
        if parts:
            seconds = sum(part.seconds for part in parts)
            table.add_row("", f"{len(parts)} {name}", f"{seconds:8.3f}", f"{seconds / found.seconds:6.1%}")
    table.add_row("", "[bold]whole[/]", f"{found.seconds:8.3f}", "100.0%")
    return table


def _rows(segments: Iterable[Segment]) -> list[list[Segment]]:
    """The segments by what they are of, in the order in which that began; a gate goes with its service's container."""
    rows: dict[tuple[str, str], list[Segment]] = {}
    for segment in segments:
        token = timeline.CONTAINER if segment.kind == "gate" else segment.type
        rows.setdefault((segment.name, token), []).append(segment)
    return sorted(rows.values(), key=lambda parts: min(part.start for part in parts if part.kind != "wait"))


def _tells(found: Timeline, part: Segment) -> bool:
    return part.kind not in _NO_CHANGE or (part.critical and found.share(part) >= _LEAST_SHARE)


def _label(parts: Iterable[Segment]) -> str:
    return _named(next(part for part in parts if part.kind != "wait"))


def _named(segment: Segment) -> str:
    """A service by its name alone; other resources with their kind."""
    if segment.type in ("", timeline.CONTAINER):
        return segment.name
    kind = "provider" if timeline.is_provider(segment) else segment.type.rpartition(":")[2]
    return f"{kind} {segment.name}"


def _done(parts: Iterable[Segment]) -> str:
    """What the engine did, in one word."""
    did = [part.kind for part in parts if part.type and part.kind != "wait"]
    return "replace" if len(did) > 1 else did[0] if did else ""


def _sum(parts: Iterable[Segment], kinds: tuple[str, ...] | None) -> str:
    own = [part for part in parts if (part.kind in kinds if kinds else part.kind not in ("wait", "gate"))]
    return f"{sum(part.seconds for part in own):.2f} s" if own else ""


def _bar(parts: Iterable[Segment], whole: float, room: int, marks: dict[str, str]) -> Text:
    cells: list[tuple[str, str]] = [(" ", "")] * room
    for part in sorted(parts, key=lambda each: _ORDER.index(_look(each))):
        look = _look(part)
        first = min(room - 1, int(part.start / whole * room)) if whole else 0
        last = max(first + 1, min(room, round(part.end / whole * room))) if whole else 1
        cells[first:last] = [(marks[look], _STYLES[look])] * (last - first)
    return Text.assemble(*cells)


def _look(segment: Segment) -> str:
    kind = "delete" if segment.kind.startswith("delete") else segment.kind
    return kind if kind in _STYLES else ""


def _process_start() -> float:
    """When this process began, on the monotonic clock. The launcher becomes the command: it is counted."""
    if sys.platform != "linux":
        import psutil

        return time.monotonic() - (time.time() - psutil.Process().create_time())
    # What psutil makes of this is off by up to a second: it knows the time of the boot in whole seconds.
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return time.monotonic() - age
