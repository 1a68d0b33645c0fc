"""Folders of the engine that the file system is to place apart from each other."""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest

from ephemera.machine import dockerd, placement
from ephemera.machine.work import Children, Work

_HAS_INLINE_DATA, _TOP_OF_HIERARCHIES = 0x10000000, 0x00020000


def test_the_flag_is_added_to_those_that_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flags = {tmp_path.stat().st_ino: _HAS_INLINE_DATA}

    def ioctl(descriptor: int, what: int, argument: bytes) -> bytes:
        folder = os.fstat(descriptor).st_ino
        if what == 0x80086601:
            return struct.pack("i", flags[folder])
        assert what == 0x40086602
        (flags[folder],) = struct.unpack("i", argument)
        return argument

    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    placement.spread(tmp_path)
    assert list(flags.values()) == [_HAS_INLINE_DATA | _TOP_OF_HIERARCHIES]


@pytest.fixture
def spread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Folders that were marked, of an engine whose daemon can be started; the first of them has no such flag."""
    marked: list[str] = []

    def spread(folder: Path) -> None:
        marked.append(str(folder.relative_to(tmp_path)))
        if len(marked) == 1:
            raise OSError(25, "Inappropriate ioctl for device")

    def request(_method: str, path: str) -> tuple[int, Any]:
        assert path == "/info"
        return 200, {"DockerRootDir": str(tmp_path), "Driver": "overlay2"}

    monkeypatch.setattr(placement, "spread", spread)
    monkeypatch.setattr(dockerd, "request", request)
    monkeypatch.setattr(dockerd.DockerEngine, "_start", lambda *_: None)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    return marked


def _run() -> None:
    dockerd.DockerEngine().run(Work("docker", lambda _: None, Children()))


@pytest.mark.usefixtures("home")
def test_an_engine_that_was_started_has_volumes_and_layers_apart(
    spread: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dockerd, "answers", lambda: FileNotFoundError("no socket"))
    _run()
    assert spread == ["volumes", "overlay2"]


@pytest.mark.usefixtures("home")
def test_an_engine_that_was_there_is_left_as_it_is(spread: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dockerd, "answers", lambda: None)
    _run()
    assert spread == []
