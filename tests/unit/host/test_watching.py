from __future__ import annotations

import queue
from pathlib import Path

import pytest

from ephemera.host.watching import watching
from ephemera.model.errors import MachineError

_SECONDS = 10.0


def test_saved_renamed_and_removed_files_are_reported_once_each(tmp_path: Path) -> None:
    inside = tmp_path / "package"
    inside.mkdir()
    found: queue.SimpleQueue[frozenset[Path]] = queue.SimpleQueue()
    # Watched as a tree, as a part of one and as a folder: still one report.
    with watching([tmp_path, inside], [inside], found.put):
        file = inside / "code.py"
        file.write_text("1")
        assert found.get(timeout=_SECONDS) == {file}
        (inside / "code.py~").write_text("an editor's")
        (inside / "__pycache__").mkdir()
        (inside / "__pycache__" / "code.cpython-311.pyc").write_bytes(b"Python's")
        renamed = tmp_path / "code.tmp"
        renamed.write_text("2")
        assert found.get(timeout=_SECONDS) == {renamed}
        renamed.replace(file)
        assert found.get(timeout=_SECONDS) == {renamed, file}
        file.unlink()
        assert found.get(timeout=_SECONDS) == {file}
    file.write_text("nobody watches any more")
    assert found.empty()


def test_folder_is_watched_without_what_is_below(tmp_path: Path) -> None:
    below = tmp_path / "below"
    below.mkdir()
    found: queue.SimpleQueue[frozenset[Path]] = queue.SimpleQueue()
    with watching([], [tmp_path], found.put):
        (below / "data").write_text("1")
        (tmp_path / "Dockerfile").write_text("FROM x")
        assert found.get(timeout=_SECONDS) == {tmp_path / "Dockerfile"}


def test_folder_that_cannot_be_watched_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(MachineError, match=f"cannot watch {missing}"), watching([missing], [], lambda _: None):
        pass
