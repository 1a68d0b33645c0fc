from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import pytest

from benchmarks import load, processes
from benchmarks.observed import NotSoError
from benchmarks.rounds import Record, Rounds, order
from benchmarks.tools import Environment
from tests.unit.benchmarks.doubles import QUIET, WORKLOAD, FakeObserver, FakeTool


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "read", lambda: QUIET)
    monkeypatch.setattr(load, "settled", lambda: QUIET)


def _run(tools: list[FakeTool], observer: Any = None, *, runs: int = 1, together: tuple[int, ...] = ()) -> Record:
    record = Record()
    seen: Any = observer or FakeObserver()
    Rounds(seen, "bench", record, lambda _: None).run(tools, [WORKLOAD], together, runs)
    return record


def test_each_is_at_each_place_equally_often() -> None:
    rounds = [order("abc", number) for number in range(6)]
    assert rounds[:3] == [["a", "b", "c"], ["b", "c", "a"], ["c", "a", "b"]]
    assert all(sorted(place) == list("aabbcc") for place in zip(*rounds, strict=True))
    assert order([], 3) == []


def test_tools_take_turns_after_a_warm_up_that_does_not_count() -> None:
    calls: list[str] = []
    record = _run([FakeTool("a", calls=calls), FakeTool("b", calls=calls)], runs=2)
    ups = [call for call in calls if call.startswith("up1")]
    assert len(ups) == 12, "and once more for its memory"
    assert [(each.round, each.tool) for each in record.samples if each.measure == "up"] == [
        (0, "a"),
        (0, "b"),
        (1, "b"),
        (1, "a"),
    ]


def test_life_is_up_again_changed_down() -> None:
    tool = FakeTool("a")
    record = _run([tool])
    once = ["up0 bench-3", "up0 bench-3", "up1 bench-3", "down bench-3"]
    watched = ["up0 bench-4", "up1 bench-4", "down bench-4"]
    assert tool.calls[7:] == [*once, *watched]
    assert [each.measure for each in record.samples] == [
        "up",
        "up_cpu",
        "unchanged",
        "change",
        "down",
        "down_cpu",
        "memory_mib",
    ]


def test_tool_that_cannot_update_is_not_asked_to() -> None:
    tool = FakeTool("a", updates=False)
    measures = {each.measure for each in _run([tool]).samples}
    assert {"up", "down"} <= measures
    assert not {"unchanged", "change"} & measures


def test_several_at_once_have_names_of_their_own() -> None:
    tool = FakeTool("a")
    record = _run([tool], together=(3,))
    assert len({call for call in tool.calls[-6:] if call.startswith("up0")}) == 3
    values = {each.measure: each.value for each in record.samples}
    assert values["parallel3_each"] == pytest.approx(values["parallel3"] / 3)
    assert "parallel3_down" in values


@pytest.mark.parametrize(("fails", "during"), [("up0", "up"), ("up1", "change"), ("down", "down")])
def test_failed_tool_is_told_and_swept_and_the_others_go_on(fails: str, during: str) -> None:
    observer = FakeObserver()
    record = _run([FakeTool("bad", fails=(fails,)), FakeTool("good")], observer)
    assert {(each.tool, each.during, each.round) for each in record.failures} == {
        ("bad", during, -1),
        ("bad", during, 0),
    }
    assert "ended with 1" in record.failures[0].reason
    assert not [each for each in record.samples if each.tool == "bad" and each.measure == during]
    assert [each for each in record.samples if each.tool == "good" and each.measure == "down"]
    assert observer.swept == ["environment=bench-1", "environment=bench-4"]


def test_time_until_it_is_really_so_counts() -> None:
    values = {each.measure: each.value for each in _run([FakeTool("a")], FakeObserver(late=100.0)).samples}
    assert all(values[each] > 100 for each in ("up", "unchanged", "change", "down"))
    assert values["up_cpu"] < 100


def test_tool_that_says_ready_when_it_is_not_has_failed() -> None:
    class Doubting(FakeObserver):
        def until_ready(self, tool: Any, environments: Any) -> float:
            raise NotSoError("it said that it was done, and cache is not ready")

    record = _run([FakeTool("a")], Doubting())
    assert record.samples == []
    assert "cache is not ready" in record.failures[0].reason


def test_interrupted_turn_takes_down_what_it_made(monkeypatch: pytest.MonkeyPatch) -> None:
    tool, observer = FakeTool("a"), FakeObserver()
    run: Callable[..., Any] = processes.run

    def interrupted(commands: Any, seconds: float, daemons: Collection[int] = (), **more: Any) -> Any:
        if tool.calls[-1] == "up1 bench-1":
            raise KeyboardInterrupt
        return run(commands, seconds, daemons, **more)

    monkeypatch.setattr(processes, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _run([tool], observer)
    assert tool.calls[-1] == "down bench-1"
    assert observer.swept == [tool.label(Environment(name="bench-1", workload=WORKLOAD))]
