from __future__ import annotations

import io
import time
from typing import Any

import psutil
import pytest
from rich.console import Console
from rich.table import Table

from ephemera.cli import timeline_table
from ephemera.cli.console import Screen
from ephemera.cli.tables import Columns
from ephemera.pulumi.timeline import CONTAINER, Segment, Timeline

_NETWORK = "docker:index/network:Network"


def _segment(kind: str, name: str, start: float, end: float, **given: Any) -> Segment:
    return Segment(kind=kind, name=name, start=start, end=end, **given)


def _timeline() -> Timeline:
    """Half of the time the program, then a service that is replaced and its gate; the path has two gaps."""
    program = _segment("phase", "program", 0, 5, critical=True)
    old = _segment("delete-replaced", "db", 5.05, 6, type=CONTAINER, critical=True)
    new = _segment("create-replacement", "db", 6, 8, type=CONTAINER, critical=True)
    gate = _segment("gate", "db", 9, 9.96, critical=True)
    end = _segment("phase", "finish", 9.96, 10, critical=True)
    others = [
        _segment("wait", "db", 4, 5.5, type=CONTAINER, waits_for="create network"),
        _segment("create", "network", 4.5, 5, type=_NETWORK),
        _segment("same", "api", 5, 5.01, type=CONTAINER),
        _segment("gate", "api", 5.1, 5.2),
    ]
    gaps = [_segment("gap", "db", 5, 5.05, type=CONTAINER), _segment("gap", "db", 8, 9)]
    return Timeline(
        seconds=10,
        segments=[program, *others, old, new, gate, end],
        path=[program, gaps[0], old, new, gaps[1], gate, end],
    )


def _printed(table: Table | Columns, width: int) -> list[str]:
    console = Console(width=width, no_color=True, force_terminal=False)
    with console.capture() as captured:
        console.print(table)
    return [line.rstrip() for line in captured.get().splitlines()]


def test_bars_lie_where_their_time_was() -> None:
    lines = _printed(timeline_table.bars(_timeline(), 83), 83)
    rows = {line[3:15].strip(): line for line in lines}
    axis = lines[0].index("0 ")
    assert lines[0].endswith("10.00 s")
    room = len(lines[0]) - axis
    assert rows["program"][axis:] == "█" * (room // 2)
    db = rows["db"][axis:].ljust(room)
    cells = {seconds: db[int(seconds / 10 * room)] for seconds in (1, 4.2, 5.3, 7, 8.5, 9.5)}
    assert cells == {1: " ", 4.2: "·", 5.3: "▚", 7: "█", 8.5: " ", 9.5: "▒"}


def test_row_says_what_was_done_and_how_long_it_took() -> None:
    lines = _printed(timeline_table.bars(_timeline(), 140), 140)
    rows = {" ".join(line[3:18].split()): " ".join(line[:56].split()) for line in lines}
    assert rows["db"] == "* db replace 1.50 s 2.95 s 0.96 s"
    assert rows["Network network"] == "Network network create 0.50 s"


def test_what_did_not_change_and_took_no_time_is_only_counted() -> None:
    lines = _printed(timeline_table.bars(_timeline(), 140), 140)
    assert not any("api" in line or "finish" in line for line in lines)
    assert lines[-1] == "and 2 unchanged or under 1%"


@pytest.mark.parametrize("width", [60, 80, 140, 300])
def test_bars_fit_the_terminal(width: int) -> None:
    assert max(map(len, _printed(timeline_table.bars(_timeline(), width), 400))) <= max(width, 78)
    assert len(_printed(timeline_table.bars(_timeline(), width), width)) == 5


def test_bars_do_without_unicode() -> None:
    assert all(line.isascii() for line in _printed(timeline_table.bars(_timeline(), 80, unicode=False), 80))


def test_critical_path_tells_each_long_part_and_sums_up_the_short_ones() -> None:
    lines = [line.split() for line in _printed(timeline_table.critical_path(_timeline()), 80)]
    assert lines[1:] == [
        ["program", "5.000", "50.0%"],
        ["db", "delete-replaced", "0.950", "9.5%"],
        ["db", "create-replacement", "2.000", "20.0%"],
        ["gap", "before", "db", "1.000", "10.0%"],
        ["db", "gate", "0.960", "9.6%"],
        ["1", "shorter", "ones", "0.040", "0.4%"],
        ["1", "short", "gaps", "0.050", "0.5%"],
        ["whole", "10.000", "100.0%"],
    ]


def test_show_prints_both(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    timeline_table.show(Screen(), _timeline())
    said = capsys.readouterr().out
    assert said.index("took") < said.index("critical path")


def test_show_keeps_to_what_the_output_can_hold() -> None:
    output = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    timeline_table.show(Screen(out=Console(file=output, width=100)), _timeline())
    output.flush()
    assert b"program" in output.buffer.getvalue()


def test_stopwatch_counts_from_the_processs_start_and_passes_events_on() -> None:
    stopwatch = timeline_table.Stopwatch()
    stopwatch.phase("plan")
    passed: list[dict[str, Any]] = []
    stopwatch.noting(passed.append)({"type": "phase", "name": "check"})
    found = stopwatch.timeline()
    assert [(segment.kind, segment.name) for segment in found.segments] == [
        ("phase", "start"),
        ("phase", "plan"),
        ("phase", "check"),
    ]
    assert passed == [{"type": "phase", "name": "check"}]
    # Which psutil knows to the second.
    assert found.seconds == pytest.approx(time.time() - psutil.Process().create_time(), abs=1.5)
    assert found.segments[0].seconds > 0.05


def test_event_keeps_the_time_at_which_it_was_said_to_be() -> None:
    stopwatch = timeline_table.Stopwatch()
    earlier = time.monotonic() - 0.02
    stopwatch.noting(lambda _: None)({"type": "phase", "name": "program", "at": earlier})
    stopwatch.phase("finish")
    program = next(segment for segment in stopwatch.timeline().segments if segment.name == "program")
    assert program.seconds >= 0.02
