"""What is half made is never taken for whole, and a name changes with what it is made from."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest

from ephemera.setup.artifacts import content_hash, published


def test_a_finished_folder_takes_its_name(tmp_path: Path) -> None:
    with published(tmp_path / "cache" / "engine") as partial:
        partial.mkdir()
        (partial / "pulumi").write_text("x")
        made = partial.stat().st_ino
        assert not (tmp_path / "cache" / "engine").exists()
    assert (tmp_path / "cache" / "engine" / "pulumi").read_text() == "x"
    # Renamed, not copied: there is no moment at which a part of it has the name.
    assert (tmp_path / "cache" / "engine").stat().st_ino == made


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failed_one_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    def fail() -> None:
        with published(tmp_path / "engine") as partial:
            partial.write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    for pid in (1, 2):
        stale = tmp_path / f".engine.partial-{pid}"
        stale.mkdir()
        (stale / "half").write_text("")
    other = tmp_path / ".engine-other.partial-1"
    other.mkdir()
    with published(tmp_path / "engine") as partial:
        partial.write_text("whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".engine-other.partial-1", "engine"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    source = tmp_path / "plugin"
    (source / "shim").mkdir(parents=True)
    (source / "go.mod").write_text("module x")
    (source / "shim" / "network.go").write_text("package shim")
    return source


def test_the_hash_follows_content_and_names(folder: Path) -> None:
    before = content_hash([folder])
    assert content_hash([folder]) == before
    (folder / "go.mod").write_text("module y")
    changed = content_hash([folder])
    assert changed != before
    (folder / "shim" / "network.go").rename(folder / "shim" / "volume.go")
    assert content_hash([folder]) not in (before, changed)


def test_only_sources_count_where_that_is_asked_for(folder: Path) -> None:
    before = content_hash([folder], suffixes=(".go", ".mod"))
    (folder / "README.md").write_text("about")
    (folder / "shim" / "network_test.go").write_text("package shim")
    os.utime(folder / "go.mod", (1, 1))
    assert content_hash([folder], suffixes=(".go", ".mod")) == before
    (folder / "shim" / "volume.go").write_text("package shim")
    assert content_hash([folder], suffixes=(".go", ".mod")) != before


def test_names_that_are_no_utf8_are_hashed(folder: Path) -> None:
    before = content_hash([folder])
    (folder / os.fsdecode(b"odd\xff")).write_text("")
    assert content_hash([folder]) != before
    assert content_hash((), os.fsdecode(b"odd\xff")) != content_hash((), "odd")


def test_the_hash_is_the_same_wherever_the_folder_lies(folder: Path, tmp_path: Path) -> None:
    before = content_hash([folder])
    moved = folder.rename(tmp_path / "elsewhere-parent")
    home = tmp_path / "other"
    home.mkdir()
    assert content_hash([moved.rename(home / "plugin")]) == before


def test_further_text_is_part_of_it(folder: Path) -> None:
    assert content_hash([folder], "x86_64") != content_hash([folder], "aarch64")
    assert content_hash([], "a", "bc") != content_hash([], "ab", "c")


def test_what_is_published_can_be_written_by_its_user_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with published(tmp_path / "engine") as partial:
            (partial / "bin").mkdir(parents=True)
            (partial / "bin" / "pulumi").touch(mode=0o777)
            (partial / "bin" / "link").symlink_to("pulumi")
    finally:
        os.umask(before)
    places = [tmp_path / "engine", *(tmp_path / "engine").rglob("*")]
    assert [place for place in places if place.stat().st_mode & 0o022] == []


def test_a_folder_in_use_is_replaced_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "venv"
    for number in ("one", "two"):
        with published(target) as partial:
            partial.mkdir()
            (partial / number).touch()
            assert target.exists() == (number == "two")
    assert [path.name for path in target.iterdir()] == ["two"]
    assert [path.name for path in tmp_path.iterdir()] == ["venv"]


def test_a_replacement_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "venv" / "one").mkdir(parents=True)
    with suppress(ZeroDivisionError), published(tmp_path / "venv") as partial:
        partial.mkdir()
        1 / 0  # noqa: B018
    assert [path.name for path in tmp_path.rglob("*")] == ["venv", "one"]
