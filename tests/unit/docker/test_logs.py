from __future__ import annotations

import pytest
from docker.errors import NotFound
from requests import Response
from requests.exceptions import HTTPError

from ephemera.docker import logs
from tests.unit.doubles import Answer, FakeClient, frame

_PIECE = 16 * 1024


@pytest.fixture
def engine() -> FakeClient:
    client = FakeClient()
    client.api.run("web")
    return client


def _stamp(number: int) -> str:
    return f"2026-01-02T03:04:05.{number:09}Z"


def _write(engine: FakeClient, *written: tuple[int, bytes]) -> None:
    """As the engine keeps it: lines in pieces of 16 kB, each with a time of its own."""
    pieces: list[tuple[int, bytes]] = []
    for stream, line in written:
        for at in range(0, len(line), _PIECE):
            pieces.append((stream, f"{_stamp(len(pieces))} ".encode() + line[at : at + _PIECE]))
    engine.api.log_pieces["web"] = pieces


def _texts(engine: FakeClient, tail: int | None = None) -> list[str]:
    return [line.text for line in logs.read(engine, "web", tail=tail)]


def test_long_lines_are_whole_and_have_one_time(engine: FakeClient) -> None:
    long = b"L" * 40_000 + b"|end\n"
    _write(engine, (1, b"before\n"), (1, long), (1, b"after\n"))
    found = list(logs.read(engine, "web"))
    assert [line.text for line in found] == ["before", long[:-1].decode(), "after"]
    assert [line.stamp for line in found] == [_stamp(0), _stamp(1), _stamp(4)]


def test_a_character_that_was_cut_in_two_is_one(engine: FakeClient) -> None:
    _write(engine, (1, b"x" * (_PIECE - 1) + "ü\n".encode()))
    assert _texts(engine) == ["x" * (_PIECE - 1) + "ü"]


def test_streams_do_not_go_on_in_each_other(engine: FakeClient) -> None:
    engine.api.log_pieces["web"] = [
        (1, f"{_stamp(0)} out ".encode()),
        (2, f"{_stamp(1)} wrong\n".encode()),
        (1, f"{_stamp(2)} goes on\n".encode()),
    ]
    assert _texts(engine) == ["wrong", "out goes on"]


def test_only_a_line_feed_ends_a_line(engine: FakeClient) -> None:
    odd = "10%\r100% page\x0cbreak \x0b \x1c \x85 \u2028 \u2029 \x00"
    _write(engine, (1, f"{odd}\n".encode()), (1, b"\n"), (1, b"no end"))
    assert _texts(engine) == [odd, "", "no end"]


@pytest.mark.parametrize("count", range(8))
def test_last_lines_are_whole_however_many_pieces_they_are(engine: FakeClient, count: int) -> None:
    long = "L" * 100_000
    _write(engine, *((1 + number % 2, f"{number} {long}\n".encode()) for number in range(5)), (1, b"end\n"))
    assert _texts(engine, tail=count) == (_texts(engine)[-count:] if count else [])


def test_frames_may_come_in_any_chunks(engine: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = b"".join(frame(1, f"{_stamp(number)} line {number}\n".encode()) for number in range(9))
    for size in (1, 7, 8, 9, 64):
        chunks = [whole[at : at + size] for at in range(0, len(whole), size)]
        monkeypatch.setattr(engine.api, "get", lambda *_, chunks=chunks, **__: Answer(chunks))
        assert _texts(engine) == [f"line {number}" for number in range(9)]


def test_what_a_terminal_wrote_has_no_frames(engine: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    engine.api.documents["web"] = {"Config": {"Tty": True}}
    said = f"{_stamp(0)} one\r\n{_stamp(1)} two\r\n".encode()
    monkeypatch.setattr(engine.api, "get", lambda *_, **__: Answer([said[:40], said[40:]]))
    assert _texts(engine) == ["one\r", "two\r"]


def test_refusal_is_dockers(engine: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    class Refused(Answer):
        def raise_for_status(self) -> None:
            response = Response()
            response.status_code = 404
            response._content = b'{"message": "No such container: web"}'
            raise HTTPError(response=response)

    monkeypatch.setattr(engine.api, "get", lambda *_, **__: Refused())
    with pytest.raises(NotFound, match="No such container"):
        _texts(engine)
