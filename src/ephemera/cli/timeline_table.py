"""Where the time of a command went: take its events with their times, and show its timeline."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ephemera.cli.console import Screen
from ephemera.cli.tables import Columns
from ephemera.host.processes import ProcessId
from ephemera.model.progress import Event
from ephemera.pulumi import timeline
from ephemera.pulumi.timeline import Segment, Timeline

_LEAST_BAR, _MOST_BAR = 16, 100
_LEAST_NAME, _MOST_NAME = 12, 30
# All columns but the name and the bar, and the room between columns.
_COLUMNS = 1 + len("replace") + 3 * len("00.00 s") + 7 * 2
# A smaller part that is no change is only counted.
_LEAST_SHARE = 0.01
_NO_CHANGE = ("same", "gate", "wait", "phase")
# Style, mark and mark in ASCII; what comes later lies over what comes before.
_LOOKS = {
    "wait": ("dim", "·", "."),
    "gate": ("yellow", "▒", "="),
    "delete": ("red", "▚", "x"),
    "": ("green", "█", "#"),
    "phase": ("cyan", "█", "#"),
}


class Stopwatch:
    """Takes a command's events, each with its time."""

    def __init__(self) -> None:
        self._started = _process_start()
        self._events: list[Event] = []

    def phase(self, name: str) -> None:
        """Begin the phase ``name`` of the command."""
        self._note(timeline.phase(name))

    def noting(self, report: Callable[[Event], None]) -> Callable[[Event], None]:
        """Return ``report``, with every event noted as it comes."""

        def noted(event: Event) -> None:
            self._note(event)
            report(event)

        return noted

    def timeline(self) -> Timeline:
        """Return the timeline from the process's start until now."""
        return timeline.build(self._events, self._started, time.monotonic())

    def _note(self, event: Event) -> None:
        self._events.append({"at": time.monotonic(), **event})


def show(screen: Screen, found: Timeline) -> None:
    """Print what took time as bars on one axis, then the critical path with every part's share."""
    screen.out.print(bars(found, screen.out.width, unicode=screen.out.encoding.startswith("utf")))
    screen.table(critical_path(found))


def bars(found: Timeline, width: int, *, unicode: bool = True) -> Table:
    """Return a row for each phase, resource and service that changed or took its time; ``width``: of the terminal."""
    rows = _rows(found.segments)
    shown = [parts for parts in rows if any(_tells(found, part) for part in parts)]
    longest = max((len(_label(parts)) for parts in shown), default=0)
    names = max(_LEAST_NAME, min(longest, _MOST_NAME, width - _COLUMNS - _LEAST_BAR))
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
        did = [part.kind for part in parts if part.type and part.kind != "wait"]
        table.add_row(
            "*" if any(part.critical for part in parts) else "",
            escape(_label(parts)),
            "replace" if len(did) > 1 else "".join(did),
            _sum(part for part in parts if part.kind == "wait"),
            _sum(part for part in parts if part.kind not in ("wait", "gate")),
            _sum(part for part in parts if part.kind == "gate"),
            _bar(parts, found.seconds, room, unicode),
        )
    if left_out := len(rows) - len(shown):
        table.caption, table.caption_justify = f"and {left_out} unchanged or under {_LEAST_SHARE:.0%}", "left"
    return table


def critical_path(found: Timeline) -> Columns:
    """Return what the command took that long for: each part, how long, and its share of the whole. Short parts are
    summed up, and so are short gaps, in which Pulumi compares resources with their state."""
    table = Columns("*", "critical path", f"{'seconds':>8}", f"{'share':>6}")
    short: dict[str, list[float]] = {}
    for part in found.path:
        if found.share(part) >= _LEAST_SHARE:
            name = f"gap before {_named(part)}" if part.kind == "gap" else f"{_named(part)} {part.kind}"
            name = _named(part) if part.kind == "phase" else name
            table.add_row("", escape(name), f"{part.seconds:8.3f}", f"{found.share(part):6.1%}")
        else:
            short.setdefault("short gaps" if part.kind == "gap" else "shorter ones", []).append(part.seconds)
    for name, seconds in sorted(short.items(), reverse=True):
        table.add_row("", f"{len(seconds)} {name}", f"{sum(seconds):8.3f}", f"{sum(seconds) / found.seconds:6.1%}")
    table.add_row("", "[bold]whole[/]", f"{found.seconds:8.3f}", "100.0%")
    return table


def _rows(segments: Iterable[Segment]) -> list[list[Segment]]:
    """Return the segments by resource, in the order in which they began; a gate goes with its service's container."""
    rows: dict[tuple[str, str], list[Segment]] = {}
    for segment in segments:
        token = timeline.CONTAINER if segment.kind == "gate" else segment.type
        rows.setdefault((segment.name, token), []).append(segment)
    return sorted(rows.values(), key=lambda parts: min(part.start for part in parts if part.kind != "wait"))


def _tells(found: Timeline, part: Segment) -> bool:
    return part.kind not in _NO_CHANGE or (part.critical and found.share(part) >= _LEAST_SHARE)


def _label(parts: Sequence[Segment]) -> str:
    return _named(next(part for part in parts if part.kind != "wait"))


def _named(segment: Segment) -> str:
    """Return the name of a service alone; of other resources with their kind."""
    if segment.type in ("", timeline.CONTAINER):
        return segment.name
    kind = "provider" if segment.is_provider else segment.type.rpartition(":")[2]
    return f"{kind} {segment.name}"


def _sum(parts: Iterable[Segment]) -> str:
    seconds = [part.seconds for part in parts]
    return f"{sum(seconds):.2f} s" if seconds else ""


def _bar(parts: Iterable[Segment], whole: float, room: int, unicode: bool) -> Text:
    cells: list[tuple[str, str]] = [(" ", "")] * room
    order = list(_LOOKS)
    for part in sorted(parts, key=lambda each: order.index(_look(each))):
        style, mark, in_ascii = _LOOKS[_look(part)]
        first = min(room - 1, int(part.start / whole * room)) if whole else 0
        last = max(first + 1, min(room, round(part.end / whole * room))) if whole else 1
        cells[first:last] = [(mark if unicode else in_ascii, style)] * (last - first)
    return Text.assemble(*cells)


def _look(segment: Segment) -> str:
    kind = "delete" if segment.kind.startswith("delete") else segment.kind
    return kind if kind in _LOOKS else ""


def _process_start() -> float:
    """Return when this process began, on the monotonic clock. The launcher becomes the command: it is counted."""
    # What psutil makes of this is off by up to a second: it knows the time of the boot in whole seconds.
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - ProcessId.of().ticks / os.sysconf("SC_CLK_TCK")
    return time.monotonic() - age
