from __future__ import annotations

import itertools
from typing import Any

import pytest

from ephemera.model.progress import Event
from ephemera.pulumi import timeline
from ephemera.pulumi.timeline import Segment, Timeline

_STARTED = 100.0


def _urn(token: str, name: str) -> str:
    return f"urn:pulumi:shop-main::demo::{token}::{name}"


_ROOT = _urn("pulumi:pulumi:Stack", "demo-shop-main")
_PROVIDER = _urn("pulumi:providers:docker", "default")
_NETWORK = _urn("ephemera:index:Environment$docker:index/network:Network", "network")


def _service(name: str) -> str:
    return _urn("ephemera:index:Container$docker:index/container:Container", name)


def _component(name: str) -> str:
    return _urn("ephemera:index:Container", name)


def _at(seconds: float, type: str, **fields: Any) -> Event:
    return {"type": type, "at": _STARTED + seconds, **fields}


def _phase(seconds: float, name: str) -> Event:
    return _at(seconds, "phase", name=name)


def _step(urn: str, op: str, begun: float, done: float, *, custom: bool = True) -> list[Event]:
    given = {"urn": urn, "op": op, "custom": custom}
    return [_at(begun, "resource", state="begun", **given), _at(done, "resource", state="done", **given)]


def _gate(service: str, waiting: float, ready: float) -> list[Event]:
    return [_at(waiting, "gate", service=service, state="waiting"), _at(ready, "gate", service=service, state="ready")]


def _needs(**services: list[str]) -> Event:
    """Every service is in a component of its own, needs the network, and those."""
    of = {
        _service(name): [*map(_service, needed), _NETWORK, _component(name), _PROVIDER]
        for name, needed in services.items()
    }
    return _at(9.9, "dependencies", of={_NETWORK: [_ROOT, _PROVIDER], **of})


def _run(*events: list[Event], ended: float = 10.0) -> Timeline:
    """A run of the engine with the network, and what is given; the program runs from 2 to 9."""
    around = [_phase(0.5, "plan"), _phase(1, "engine"), _phase(2, "program"), _phase(9, "finish")]
    network = [*_step(_ROOT, "same", 2.5, 8.9, custom=False), *_step(_NETWORK, "create", 3, 3.5)]
    components = [
        event for name in ("db", "api", "side") for event in _step(_component(name), "create", 2.75, 8.5, custom=False)
    ]
    return timeline.build([*around, *network, *components, *itertools.chain(*events)], _STARTED, _STARTED + ended)


def _db_then_api() -> Timeline:
    return _run(
        _step(_service("db"), "create", 3.6, 4),
        _gate("db", 4, 6),
        _step(_service("api"), "create", 6, 7),
        _gate("api", 7.5, 8),
        _step(_service("side"), "create", 3.5, 7.9),
        [_needs(db=[], api=["db"], side=[])],
    )


def _path(found: Timeline) -> list[tuple[str, str, float]]:
    return [(part.kind, part.name, part.seconds) for part in found.path]


def _one(found: Timeline, kind: str, name: str) -> Segment:
    (segment,) = [each for each in found.segments if (each.kind, each.name) == (kind, name)]
    return segment


def test_path_goes_through_what_each_resource_waited_for() -> None:
    assert _path(_db_then_api()) == [
        ("phase", "start", 0.5),
        ("phase", "plan", 0.5),
        ("phase", "engine", 1.0),
        ("phase", "program", 0.75),
        ("gap", "network", 0.25),
        ("create", "network", 0.5),
        ("gap", "db", 0.1),
        ("create", "db", 0.4),
        ("gate", "db", 2.0),
        ("create", "api", 1.0),
        ("gap", "api", 0.5),
        ("gate", "api", 0.5),
        ("phase", "engine end", 1.0),
        ("phase", "finish", 1.0),
    ]


def test_path_has_no_hole_and_adds_up_to_the_whole() -> None:
    found = _db_then_api()
    assert found.path[0].start == 0
    assert found.path[-1].end == found.seconds == 10.0
    assert all(before.end == after.start for before, after in itertools.pairwise(found.path))
    assert sum(part.seconds for part in found.path) == pytest.approx(found.seconds)
    assert sum(found.share(part) for part in found.path) == pytest.approx(1)


def test_what_is_on_the_path_is_marked_so() -> None:
    found = _db_then_api()
    assert _one(found, "gate", "db").critical
    assert not _one(found, "create", "side").critical  # it took longest, and nobody waited for it


def test_wait_begins_with_the_programs_asking_and_names_what_came_last() -> None:
    wait = _one(_db_then_api(), "wait", "api")
    assert (wait.start, wait.end, wait.waits_for) == (2.75, 6.0, "gate db")
    assert not any(each.kind == "wait" and each.name == "network" for each in _db_then_api().segments)


def test_what_was_there_already_and_a_plugins_start_are_not_waited_for() -> None:
    found = _run(
        _step(_PROVIDER, "create", 2.8, 3),
        _step(_component("late"), "create", 5, 8, custom=False),
        _step(_service("late"), "create", 5.2, 8),
        [_needs(late=[])],
    )
    assert not any(each.kind == "wait" for each in found.segments)


def test_gate_that_was_still_closed_was_not_waited_for() -> None:
    """A program may use a container before it is ready: what depends on it then came after its creation only."""
    found = _run(
        _step(_service("db"), "create", 3.6, 4),
        _gate("db", 4, 6),
        _step(_service("api"), "create", 5, 8),
        [_needs(db=[], api=["db"])],
    )
    assert _one(found, "wait", "api").waits_for == "create db"
    assert ("create", "db", 0.4) in _path(found)
    assert not _one(found, "gate", "db").critical


def test_replaced_container_is_two_steps_one_after_the_other() -> None:
    found = _run(
        _step(_service("db"), "delete-replaced", 4, 5),
        _step(_service("db"), "replace", 5, 5),
        _step(_service("db"), "create-replacement", 5, 8),
        [_needs(db=[])],
    )
    assert [each for each in _path(found) if each[1] == "db"][-2:] == [
        ("delete-replaced", "db", 1.0),
        ("create-replacement", "db", 3.0),
    ]
    assert not any(each.kind == "replace" for each in found.segments)  # which only says so


def test_what_left_the_program_is_deleted_after_all_else_and_after_what_needed_it() -> None:
    found = _run(
        _step(_service("db"), "same", 3.6, 3.6),
        _gate("db", 3.7, 4),
        _step(_service("api"), "delete", 4.5, 6),
        _step(_component("api"), "delete", 6, 6, custom=False),
        _step(_service("side"), "delete", 6, 8),
        [_needs(db=[], api=["side"], side=[])],
    )
    path = _path(found)
    assert path[path.index(("gate", "db", 0.3)) + 1 :][:3] == [
        ("gap", "api", 0.5),
        ("delete", "api", 1.5),
        ("delete", "side", 2.0),
    ]
    assert [each.name for each in found.segments if each.kind == "wait"] == ["db"]


def test_images_are_told_apart_from_the_rest_of_the_program() -> None:
    found = _run([_at(2.1, "building", message="one"), _at(2.6, "building", message="two")])
    phases = [(each.name, each.start, each.end) for each in found.segments if each.kind == "phase"]
    assert phases[3:6] == [("program", 2.0, 2.1), ("images", 2.1, 2.6), ("program", 2.6, 2.75)]


def test_news_that_overtake_each_other_are_counted_once() -> None:
    """The gate begins in the program while the engine still tells of the container."""
    found = _run(_step(_service("db"), "create", 3.6, 4.2), _gate("db", 4, 8), [_needs(db=[])])
    assert ("create", "db", 0.4) in _path(found)
    assert sum(part.seconds for part in found.path) == pytest.approx(found.seconds)


def test_path_is_whole_when_the_engine_tells_of_a_step_after_its_gate_was_passed() -> None:
    found = _run(
        _step(_service("db"), "delete-replaced", 3.6, 4),
        _step(_service("db"), "create-replacement", 6.2, 6.3),
        _gate("db", 6, 6.1),
        _step(_service("api"), "same", 6.2, 6.2),
        _gate("api", 6.2, 8.5),
        [_needs(db=[], api=["db"])],
    )
    assert found.path[0].start == 0
    assert _path(found)[-7:] == [
        ("delete-replaced", "db", 0.4),
        ("gap", "db", 2.0),
        ("gate", "db", 0.1),
        ("gap", "api", 0.1),
        ("gate", "api", 2.3),
        ("phase", "engine end", 0.5),
        ("phase", "finish", 1.0),
    ]


def test_path_ends_when_steps_are_so_short_that_each_could_have_come_after_the_other() -> None:
    found = _run(
        _step(_service("api"), "delete", 4.5, 4.505),
        _step(_service("side"), "delete", 4.501, 4.506),
        [_needs(api=["side"], side=[])],
    )
    assert found.path[0].start == 0
    assert sum(part.seconds for part in found.path) == pytest.approx(found.seconds)


def test_command_without_a_run_of_the_engine_has_phases_only() -> None:
    found = timeline.build([_phase(0.25, "plan"), _phase(0.5, "check")], _STARTED, _STARTED + 1)
    assert _path(found) == [("phase", "start", 0.25), ("phase", "plan", 0.25), ("phase", "check", 0.5)]


def test_document_gives_seconds_since_the_start() -> None:
    document = _db_then_api().document()
    assert document["seconds"] == 10.0
    assert {"kind": "gate", "name": "db", "start": 4.0, "end": 6.0, "critical": True, "seconds": 2.0} in document[
        "segments"
    ]
    gate = next(each for each in document["critical_path"] if each["kind"] == "gate")
    assert gate == {"kind": "gate", "name": "db", "start": 4.0, "end": 6.0, "seconds": 2.0, "share": 0.2}
