from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from ephemera.home import documents
from ephemera.home.documents import DiskError
from ephemera.home.locks import locked
from ephemera.home.paths import state_dir
from ephemera.model import progress
from ephemera.model.progress import Event


def _path() -> Path:
    return state_dir() / "things" / "one.json"


def _names() -> list[str]:
    return sorted(path.name for path in _path().parent.iterdir())


def test_document_is_read_as_it_was_written_and_is_for_the_user_alone() -> None:
    documents.write(_path(), {"a": [1]}, schema=3)
    assert documents.read(_path(), dict) == {"a": [1], "schema": 3}
    assert _path().stat().st_mode & 0o777 == 0o600
    assert _names() == ["one.json"]


def test_document_that_is_not_there_is_none_and_told_of_by_nobody(events: list[Event]) -> None:
    assert documents.read(_path(), dict) is None
    assert events == []


@pytest.mark.parametrize("content", [b"", b"null", b"[]", b"3", b"{", b"\xff\xfe", b"[" * 2000, b"\0" * 9])
def test_what_is_no_document_is_kept_under_another_name_and_told_once(content: bytes, events: list[Event]) -> None:
    _path().parent.mkdir()
    _path().write_bytes(content)
    assert [documents.read(_path(), dict) for _ in range(2)] == [None, None]
    (name,) = _names()
    assert documents.is_aside(_path().with_name(name))
    assert _path().with_name(name).read_bytes() == content
    (told,) = events
    assert str(_path()) in told["message"]


def test_document_that_its_reader_refuses_is_set_aside_with_the_reason(events: list[Event]) -> None:
    def refuse(document: dict[str, Any]) -> None:
        raise ValueError(f"there is no {document['kind']}")

    documents.write(_path(), {"kind": "cat"}, schema=1)
    assert documents.read(_path(), refuse) is None
    assert "there is no cat" in events[0]["message"]


def test_folder_in_its_place_is_set_aside(events: list[Event]) -> None:
    _path().mkdir(parents=True)
    assert documents.read(_path(), dict) is None
    documents.write(_path(), {}, schema=1)
    assert documents.read(_path(), dict) == {"schema": 1}


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk on which no file can be made."""
    opened = os.open

    def refuse(path: Any, flags: int, *arguments: Any, **named: Any) -> int:
        if flags & os.O_CREAT:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return opened(path, flags, *arguments, **named)

    monkeypatch.setattr(os, "open", refuse)


def test_full_disk_is_one_clear_error_and_leaves_what_was_there(monkeypatch: pytest.MonkeyPatch) -> None:
    documents.write(_path(), {"a": 1}, schema=1)

    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(DiskError, match=r"one\.json cannot be written \(No space left on device\): make room there"):
        documents.write(_path(), {"a": 2}, schema=1)
    assert documents.read(_path(), dict) == {"a": 1, "schema": 1}
    assert _names() == ["one.json"], "nothing half written stays"


def test_block_runs_without_its_lock_on_a_full_disk_and_with_it_where_the_file_is_there(full: None) -> None:
    ran = []
    with locked(state_dir() / "not-there.lock"):
        ran.append("without")
    assert ran == ["without"]


def test_lock_that_is_there_holds_on_a_read_only_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    path = state_dir() / "there.lock"
    path.touch()
    opened = os.open

    def refuse(path: Any, flags: int, *arguments: Any, **named: Any) -> int:
        if flags & (os.O_CREAT | os.O_RDWR):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return opened(path, flags, *arguments, **named)

    monkeypatch.setattr(os, "open", refuse)
    with locked(path), pytest.raises(TimeoutError), locked(path, timeout_seconds=0):
        pytest.fail("two hold it")


def test_telling_reaches_a_person_where_nothing_is_subscribed(capsys: pytest.CaptureFixture[str]) -> None:
    progress.tell("the disk is full")
    assert capsys.readouterr().err == "ephemera: the disk is full\n"


def test_pipe_in_its_place_is_set_aside_and_not_waited_for(events: list[Event]) -> None:
    _path().parent.mkdir()
    os.mkfifo(_path())
    assert documents.read(_path(), dict) is None
    (name,) = _names()
    assert documents.is_aside(_path().with_name(name))
    assert "it is no file" in events[0]["message"]
