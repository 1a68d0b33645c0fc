"""Progress of BuildKit, from the bytes that the engine sends."""

from __future__ import annotations

import base64
from typing import Any

from ephemera.images.building import Trace


def _number(value: int) -> bytes:
    more = value >> 7
    return bytes([value & 0x7F | (0x80 if more else 0)]) + (_number(more) if more else b"")


def _field(number: int, value: bytes | int) -> bytes:
    if isinstance(value, int):
        return _number(number << 3) + _number(value)
    return _number(number << 3 | 2) + _number(len(value)) + value


def _step(digest: str, name: str, *, started: bool = True, error: str = "") -> bytes:
    inputs = _field(2, b"sha256:another") * 2
    times = _field(5, _field(1, 1_700_000_000)) + _field(4, 1) if started else b""
    failed = _field(7, error.encode()) if error else b""
    return _field(1, _field(1, digest.encode()) + inputs + _field(3, name.encode()) + times + failed)


def _log(digest: str, text: bytes) -> bytes:
    return _field(3, _field(1, digest.encode()) + _field(2, b"") + _field(3, 1) + _field(4, text))


def _event(*messages: bytes) -> dict[str, Any]:
    return {"id": "moby.buildkit.trace", "aux": base64.b64encode(b"".join(messages)).decode()}


def test_steps_are_told_once_and_when_they_begin() -> None:
    trace = Trace()
    assert list(trace.lines(_event(_step("a", "[1/2] FROM x", started=False), _step("b", "[2/2] RUN y")))) == [
        "Step [2/2] RUN y"
    ]
    later = _event(
        _step("a", "[1/2] FROM x"), _step("b", "[2/2] RUN y"), _step("c", "[internal] load"), _step("d", "x")
    )
    assert list(trace.lines(later)) == ["Step [1/2] FROM x"]


def test_output_is_told_by_whole_lines_of_each_step() -> None:
    trace = Trace()
    assert list(trace.lines(_event(_log("a", b"one\ntw"), _log("b", b"other\n")))) == ["one", "other"]
    assert list(trace.lines(_event(_log("a", b"o\n\xff\nthr")))) == ["two", "\ufffd"]
    assert list(trace.rest()) == ["thr"]
    assert list(trace.rest()) == []


def test_step_that_failed_is_named_and_not_those_that_were_given_up() -> None:
    trace = Trace()
    list(trace.lines(_event(_step("a", "[2/2] RUN false", error="exit code: 1"))))
    list(trace.lines(_event(_step("b", "[1/1] RUN sleep", error="context canceled"))))
    assert trace.failed == "[2/2] RUN false"


def test_other_fields_are_passed_over() -> None:
    fixed = _number(9 << 3 | 1) + bytes(8) + _number(10 << 3 | 5) + bytes(4)
    assert list(Trace().lines(_event(fixed, _step("a", "[1/1] RUN x")))) == ["Step [1/1] RUN x"]
