"""Where the time of an ``up`` went, as people and scripts are shown it."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from .conftest import Ephemera


def _timeline(ephemera: Ephemera, *arguments: str) -> dict[str, Any]:
    done = ephemera("up", "web", "--profile", "extra", "--timeline", "--output", "json", *arguments)
    assert done.code == 0, done.err
    assert done.json["services"]["web"]["endpoints"]
    found: dict[str, Any] = done.json["timeline"]
    return found


def _kinds(timeline: dict[str, Any], part: str) -> list[tuple[str, str]]:
    return [(each["name"], each["kind"]) for each in timeline[part]]


def _is_whole(timeline: dict[str, Any]) -> None:
    path = timeline["critical_path"]
    assert path[0]["start"] == 0
    assert path[-1]["end"] == timeline["seconds"]
    assert all(before["end"] == after["start"] for before, after in itertools.pairwise(path))
    assert sum(each["seconds"] for each in path) == pytest.approx(timeline["seconds"], abs=0.01)
    # One that accounts for nothing is of no use: what is left to gaps is what the engine needs to compare.
    assert sum(each["seconds"] for each in path if each["kind"] == "gap") < timeline["seconds"] / 3


def test_timeline_shows_what_was_waited_for(ephemera: Ephemera) -> None:
    made = _timeline(ephemera)
    _is_whole(made)
    path = [each for each in _kinds(made, "critical_path") if each[1] != "gap"]
    chain = [("web", "create"), ("web", "gate"), ("shadow", "create"), ("shadow", "gate")]
    assert [each for each in path if each in chain] == chain
    assert path[0] == ("start", "phase")
    assert path[-2:] == [("engine end", "phase"), ("finish", "phase")]
    (wait,) = [each for each in made["segments"] if (each["name"], each["kind"]) == ("shadow", "wait")]
    assert wait["waits_for"] == "gate web"
    assert {("network", "create"), ("web", "create")} <= set(_kinds(made, "segments"))

    changed = _timeline(ephemera, "-c", "greeting=changed")
    _is_whole(changed)
    segments = set(_kinds(changed, "segments"))
    assert {("web", "delete-replaced"), ("web", "create-replacement"), ("shadow", "same")} <= segments
    assert not {("shadow", "create"), ("network", "create")} & segments

    gone = ephemera("up", "web", "--timeline", "-c", "greeting=again", COLUMNS="80")
    assert gone.code == 0, gone.err
    lines = gone.out.splitlines()
    assert any("web" in line and "replace" in line and "█" in line for line in lines), gone.out
    assert any(line.split()[:1] == ["whole"] and line.split()[-1] == "100.0%" for line in lines)
    assert max(map(len, lines)) <= 80
    assert ephemera("down").code == 0
    assert ephemera.left() == []
