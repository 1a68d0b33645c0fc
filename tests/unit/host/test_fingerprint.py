"""What changes the fingerprint of a folder, and what does not."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from ephemera.host import fingerprint as module
from ephemera.host.fingerprint import Files, Fingerprint, apart, stamp
from ephemera.model.errors import InputError


def fingerprint(paths: Iterable[str]) -> Fingerprint:
    return Files().fingerprint(paths)


def same(known: Fingerprint, paths: Iterable[str]) -> bool:
    return Files().same(known, paths)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    for name in ("shop.py", "conf.d/a.toml", "lib/deep/one.py", "tests/test_shop.py", ".git/HEAD"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("one")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "data.txt").write_text("one")
    (folder / "outside").symlink_to("../outside")
    (folder / "lib" / "self").symlink_to("..")
    (folder / "nowhere").symlink_to("none")
    os.mkfifo(folder / "pipe")
    return folder


def _write(name: str, text: str = "two") -> Callable[[Path], Any]:
    def write(folder: Path) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)

    return write


def _same_size_and_time(folder: Path) -> None:
    path = folder / "shop.py"
    before = path.stat()
    path.write_text("two")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize(
    "change",
    [
        _write("shop.py"),
        _write("lib/deep/one.py"),
        _write("yaml.py", ""),
        _write("lib/__init__.py", ""),
        _write("../outside/data.txt"),
        _same_size_and_time,
        lambda folder: (folder / "conf.d" / "a.toml").unlink(),
        lambda folder: (folder / "shop.py").rename(folder / "shop2.py"),
        lambda folder: (folder / "empty").mkdir(),
        lambda folder: (folder / "none").write_text(""),
    ],
)
def test_change_of_a_file_or_a_name_is_told(folder: Path, change: Callable[[Path], Any]) -> None:
    known = fingerprint([str(folder)])
    assert same(known, [str(folder)])
    change(folder)
    assert not same(known, [str(folder)])
    assert fingerprint([str(folder)])["content"] != known["content"]


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: os.utime(folder / "shop.py"),
        lambda folder: ((folder / "shop.py").unlink(), (folder / "shop.py").write_text("one")),
        _write("README.md"),
        _write("Pulumi.shop-main.yaml"),
        _write(".git/HEAD"),
        _write("tests/test_shop.py"),
        _write("lib/__pycache__/one.pyc"),
        _write("site-packages/x.py"),
    ],
)
def test_content_written_anew_and_what_belongs_to_tools_is_no_change(
    folder: Path, change: Callable[[Path], Any]
) -> None:
    known = fingerprint([str(folder)])
    change(folder)
    assert same(known, [str(folder)])


def test_contents_are_read_only_after_a_touch(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = fingerprint([str(folder)])
    monkeypatch.setattr(module, "_content", lambda _: pytest.fail("nothing was touched"))
    assert same(known, [str(folder)])


def test_files_that_are_not_there_or_not_to_be_read_count_too(folder: Path) -> None:
    path = folder.parent / "local.toml"
    known = fingerprint([str(path), str(folder / "tests" / "test_shop.py")])
    path.write_text("")
    assert not same(known, [str(path), str(folder / "tests" / "test_shop.py")])
    known = fingerprint([str(folder / "tests" / "test_shop.py")])
    _write("tests/test_shop.py")(folder)
    assert not same(known, [str(folder / "tests" / "test_shop.py")])


def test_of_a_folder_that_is_listed_the_names_count(folder: Path) -> None:
    paths = [f"{folder}/"]
    known = fingerprint(paths)
    for write in (_write("shop.py"), _write("Pulumi.shop-main.yaml"), _write(".pytest_cache/x"), _write("lib/new.py")):
        write(folder)
        assert same(known, paths)
    _write("README.md")(folder)
    assert not same(known, paths)


def test_more_than_64_mib_count_by_their_stamps(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_BYTES", 2)
    known = fingerprint([str(folder)])
    os.utime(folder / "shop.py")
    assert not same(known, [str(folder)])


def test_too_many_files_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_FILES", 3)
    with pytest.raises(InputError, match="more than 3 files"):
        fingerprint([str(folder)])


def test_latest_change_is_told(folder: Path) -> None:
    before = Files().changed_at([str(folder)])
    os.utime(folder / "shop.py", ns=(0, before + 10**9))
    assert Files().changed_at([str(folder)]) == before + 10**9
    assert Files().changed_at([]) == 0


def test_files_are_as_they_were_when_they_were_first_asked_for(folder: Path) -> None:
    files = Files()
    known = files.fingerprint([str(folder)])
    before = stamp(folder / "shop.py")
    _write("shop.py")(folder)
    assert files.same(known, [str(folder)])
    assert not same(known, [str(folder)])
    assert stamp(folder / "shop.py") != before


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("", True),
        ("/shop.py", True),
        ("/lib/deep/new.py", True),
        ("/outside/data.txt", True),
        ("2/shop.py", False),
        ("/tests/test_shop.py", False),
        ("/tests", False),
        ("/.git/HEAD", False),
        ("/README.md", False),
        ("/venv/lib/site-packages/x.py", False),
        ("/.env", False),
    ],
)
def test_path_counts_in_a_folder_above_it_unless_it_is_left_out_there(folder: Path, name: str, expected: bool) -> None:
    above = [str(folder.parent / "other"), str(folder)]
    assert (apart([f"{folder}{name}", *above]) == sorted(above)) is expected
