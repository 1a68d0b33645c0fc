from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from ephemera.docker.copying import CopyError, unpack


def _archive(*members: tuple[str, bytes, str]) -> io.BytesIO:
    """Names, types and what they hold or lead to."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, kind, content in members:
            member = tarfile.TarInfo(name)
            member.type, member.mode = kind, 0o4755
            if kind == tarfile.REGTYPE:
                member.size = len(content)
            else:
                member.linkname = content
            archive.addfile(member, io.BytesIO(content.encode()))
    file.seek(0)
    return file


_FILE, _FOLDER, _LINK, _HARD = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "outside").write_text("mine")
    return tmp_path / "target"


def test_folder_becomes_the_target_with_its_files_and_links(target: Path) -> None:
    archive = _archive(
        ("./x", _FOLDER, ""),
        ("./x/a", _FILE, "one"),
        ("./x/sub", _FOLDER, ""),
        ("./x/sub/up", _LINK, "../a"),
        ("./x/sub/same", _HARD, "./x/a"),
    )
    assert unpack(archive, target, "x") == []
    assert (target / "a").read_text() == (target / "sub" / "up").read_text() == (target / "sub" / "same").read_text()
    assert (target / "a").stat().st_mode & 0o7777 == 0o755, "no bit of another user's rights stays"


def test_file_becomes_the_target_in_the_place_of_one(target: Path) -> None:
    target.write_text("before")
    assert unpack(_archive(("x", _FILE, "after")), target, "x") == []
    assert target.read_text() == "after"


def test_link_in_the_place_of_a_file_is_replaced_and_not_followed(target: Path) -> None:
    target.symlink_to(target.parent / "outside")
    unpack(_archive(("x", _FILE, "evil")), target, "x")
    assert (target.parent / "outside").read_text() == "mine"
    assert target.read_text() == "evil"


@pytest.mark.parametrize("name", ["../outside", "/outside", "x/../../outside"])
def test_path_that_leads_elsewhere_is_refused(target: Path, name: str) -> None:
    with pytest.raises(CopyError, match="leads elsewhere"):
        unpack(_archive(("x", _FOLDER, ""), (name, _FILE, "evil")), target, "x")
    assert (target.parent / "outside").read_text() == "mine"


@pytest.mark.parametrize("leads_to", ["/etc/passwd", "..", "../outside", "sub/../../outside", "", "sub/.."])
def test_link_that_may_lead_elsewhere_is_left_out(target: Path, leads_to: str) -> None:
    archive = _archive(("x", _FOLDER, ""), ("x/link", _LINK, leads_to), ("x/link/outside", _FILE, "evil"))
    with pytest.raises(CopyError, match="cannot copy to"):
        unpack(archive, target, "x")
    assert unpack(_archive(("x", _FOLDER, ""), ("x/link", _LINK, leads_to)), target, "x") == ["x/link"]
    assert list(target.iterdir()) == []
    assert (target.parent / "outside").read_text() == "mine"


def test_nothing_is_written_through_a_link_that_was_there(target: Path) -> None:
    target.mkdir()
    (target / "sub").symlink_to(target.parent)
    for members in ([("x/sub", _FOLDER, "")], [("x/sub/outside", _FILE, "evil")]):
        with pytest.raises(CopyError, match="is a link"):
            unpack(_archive(("x", _FOLDER, ""), *members), target, "x")
    assert (target.parent / "outside").read_text() == "mine"


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_devices_and_pipes_are_left_out(target: Path, kind: bytes) -> None:
    assert unpack(_archive(("x", _FOLDER, ""), ("x/odd", kind, "")), target, "x") == ["x/odd"]
    assert list(target.iterdir()) == []


def test_hard_link_to_what_is_not_in_the_archive_is_left_out(target: Path) -> None:
    for leads_to in ("x/nothing", "../outside"):
        assert unpack(_archive(("x", _FOLDER, ""), ("x/a", _HARD, leads_to)), target, "x") == ["x/a"]
    assert list(target.iterdir()) == []


def test_what_is_no_archive_is_told(target: Path) -> None:
    with pytest.raises(CopyError, match="cannot copy to"):
        unpack(io.BytesIO(b"nonsense" * 100), target, "x")
