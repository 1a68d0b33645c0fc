from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import pytest

from ephemera.model import labels
from ephemera.observe.findings import Line, Service
from ephemera.observe.suspects import suspects, within

_RUNNING = {"Running": True, "ExitCode": 0}
_EXITED = {"Running": False, "ExitCode": 137}


def _service(name: str, state: dict[str, Any], lines: Iterable[tuple[float, str]] = (), *marks: str) -> Service:
    stamps = [(datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"), text) for time, text in lines]
    document = {"State": state, "Config": {"Labels": dict.fromkeys(marks, "")}}
    return Service(name=name, document=document, log="".join(f"{stamp} {text}\n" for stamp, text in stamps))


def _event(time: float, action: str, **further: Any) -> dict[str, Any]:
    return {"type": "event", "time": time, "service": "web", "action": action, **further}


_DIED = _event(15, "die", exit_code=137)


@pytest.mark.parametrize(
    ("events", "state", "reason"),
    [
        ([_DIED], _EXITED, "exited with 137 during this test"),
        ([_DIED, _event(16, "start")], _RUNNING, "exited with 137 during this test, and started again"),
        (
            [_event(14, "kill", signal="9"), _DIED],
            _EXITED,
            "was killed with signal 9 during this test (exit code 137)",
        ),
        (
            [_event(14, "kill", signal="15"), _DIED, _event(15, "stop")],
            _EXITED,
            "was stopped during this test (exit code 137)",
        ),
        (
            [_event(14, "kill", signal="15"), _DIED, _event(16, "start"), _event(16, "restart")],
            _RUNNING,
            "was restarted during this test",
        ),
        ([_event(15, "oom"), _DIED], _EXITED, "ran out of memory during this test (exit code 137)"),
        ([_DIED], {**_EXITED, "OOMKilled": True}, "ran out of memory during this test (exit code 137)"),
        ([_event(15, "oom")], _RUNNING, "lost a process for lack of memory during this test"),
        ([_event(15, "health_status: unhealthy")], _RUNNING, "went unhealthy during this test"),
        ([_event(15, "pause")], {**_RUNNING, "Paused": True}, "is paused"),
        ([_event(15, "pause"), _event(16, "unpause")], _RUNNING, "was paused during this test"),
        ([_event(5, "die", exit_code=1)], _EXITED, "was not running: it had exited with 137 before this test"),
    ],
)
def test_what_happened_to_a_service_makes_it_a_suspect(
    events: list[dict[str, Any]], state: dict[str, Any], reason: str
) -> None:
    [found] = suspects([_service("web", state, [(14, "last words")])], events, 10, 20)
    assert found.reason == reason
    assert found.lines == ["last words"]


@pytest.mark.parametrize("time", [5, 15])
def test_one_shot_that_ended_well_is_none(time: float) -> None:
    ended = {"Running": False, "Status": "exited", "ExitCode": 0}
    died = _event(time, "die", exit_code=0)
    assert suspects([_service("web", ended, [], labels.ONE_SHOT)], [died], 10, 20) == []
    assert suspects([_service("web", ended)], [died], 10, 20) != []


@pytest.mark.parametrize("events", [[], [_event(5, "restart")], [_event(15, "health_status: healthy")]])
def test_a_service_that_nothing_happened_to_is_none(events: list[dict[str, Any]]) -> None:
    lines = [(5, "ERROR before it"), (15, "0 errors"), (25, "Traceback (most recent call last):")]
    assert suspects([_service("web", _RUNNING, lines)], events, 10, 20) == []


def test_lines_like_errors_make_one_with_the_lines_around() -> None:
    lines = [(11 + number / 100, f"request {number}") for number in range(30)]
    lines[20] = (11.2, "ValueError: no such order")
    [found] = suspects([_service("web", _RUNNING, lines)], [], 10, 20)
    assert found.reason == "wrote a line that looks like an error during this test"
    assert found.lines[0] == "request 12"
    assert found.lines[8] == "ValueError: no such order"
    assert found.lines[-1] == "request 23"


def test_the_likeliest_comes_first() -> None:
    subjects = [
        _service("noisy", _RUNNING, [(12, "ERROR")] * 50),
        _service("down", _EXITED),
        _service("web", _EXITED),
    ]
    assert [one.service for one in suspects(subjects, [_DIED], 10, 20)] == ["web", "down", "noisy"]


def test_lines_of_the_dead_end_with_its_death() -> None:
    lines = [(10 + number, f"line {number}") for number in range(20)]
    [found] = suspects([_service("web", _RUNNING, lines)], [_DIED, _event(16, "start")], 10, 40)
    assert found.lines[-1] == "line 5"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("2026 ERROR cannot", True),
        ("FATAL:  the database system is shutting down", True),
        ("Traceback (most recent call last):", True),
        ("psycopg.OperationalError: server closed", True),
        ("java.lang.IllegalStateException", True),
        ("panic: runtime error", True),
        ('{"level": "error", "event": "x"}', True),
        ("level=fatal msg=x", True),
        ("0 errors, all well", False),
        ('{"level": "info", "error_count": 0}', False),
        ("GET /errors 200", False),
    ],
)
def test_lines_that_look_like_errors(text: str, error: bool) -> None:
    assert Line(0, text).error is error


def test_log_is_read_line_by_line_with_its_times() -> None:
    log = (
        "2026-01-01T00:00:01.123456789Z one\n2026-01-01T00:00:02.500000000Z \x1b[31mtwo\x1b[0m\r\nno time\n"
        "2026-01-01T00:00:03Z three"
    )
    service = Service(name="web", document={}, log=log)
    lines = service.lines
    start = 1767225600.0
    assert [line.text for line in lines] == ["one", "two", "no time", "three"]
    assert [line.time - start for line in lines] == pytest.approx([1.123456, 2.5, 2.5, 3])
    assert [line.text for line in within(service, start + 2, start + 2.6)] == ["two", "no time"]
