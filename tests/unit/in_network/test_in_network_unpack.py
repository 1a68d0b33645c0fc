from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ephemera.in_network import archives
from ephemera.in_network.archives import ResultsError, unpack

_CHUNK = 1000


def _archive(*members: tuple[str, bytes] | tarfile.TarInfo) -> Iterator[bytes]:
    """As the engine sends it: the folder first, everything below it, in pieces."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        folder = tarfile.TarInfo("results")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                tar.addfile(info, io.BytesIO(member[1]))
    content = packed.getvalue()
    yield from (content[at : at + _CHUNK] for at in range(0, len(content), _CHUNK))


def _special(kind: bytes, name: str, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def _plain(text: str) -> str:
    return text


def test_files_come_out_with_their_folders(tmp_path: Path) -> None:
    folder = tmp_path / "run" / "results"
    written, left_out = unpack(
        _archive(("results/junit.xml", b"<x/>"), ("results/deep/er/data", b"\xff" * 3000)), folder, _plain
    )
    assert written == [folder / "deep/er/data", folder / "junit.xml"]
    assert (folder / "junit.xml").read_bytes() == b"<x/>"
    assert (folder / "deep/er/data").read_bytes() == b"\xff" * 3000
    assert left_out == []


def test_texts_are_redacted_and_other_files_stay_as_they_are(tmp_path: Path) -> None:
    binary = b"\xffsecret"
    unpack(
        _archive(("results/a", "grüß secret".encode()), ("results/b", binary)),
        tmp_path / "results",
        lambda text: text.replace("secret", "***"),
    )
    assert (tmp_path / "results" / "a").read_text() == "grüß ***"
    assert (tmp_path / "results" / "b").read_bytes() == binary


@pytest.mark.parametrize(
    "name",
    ["../out", "results/../../out", "results/a/../../../out", "/etc/out", "out", "results/" + "x" * 256],
)
def test_a_path_that_leads_elsewhere_is_refused_and_nothing_stays(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "run" / "results"
    with pytest.raises(ResultsError):
        unpack(_archive(("results/first", b"1"), (name, b"2")), folder, _plain)
    assert list(tmp_path.rglob("*")) == [tmp_path / "run"]


def test_what_is_no_regular_file_is_left_out(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("theirs")
    specials = [
        _special(tarfile.SYMTYPE, "results/soft", str(secret)),
        _special(tarfile.LNKTYPE, "results/hard", str(secret)),
        _special(tarfile.FIFOTYPE, "results/pipe"),
        _special(tarfile.CHRTYPE, "results/device"),
    ]
    written, left_out = unpack(_archive(*specials, ("results/a", b"1")), tmp_path / "results", _plain)
    assert written == [tmp_path / "results" / "a"]
    assert left_out == ["soft", "hard", "pipe", "device"]


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    """A link first and then a file below it, or in its place: the link is never made."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    link = _special(tarfile.SYMTYPE, "results/way", str(elsewhere))
    unpack(_archive(link, ("results/way/file", b"1")), tmp_path / "results", _plain)
    assert list(elsewhere.iterdir()) == []
    assert (tmp_path / "results/way/file").read_text() == "1"


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ResultsError):
        unpack(_archive(("results/a", b"1"), ("results/a", b"2")), tmp_path / "results", _plain)
    assert list(tmp_path.iterdir()) == []


def test_a_sparse_file_that_says_it_is_huge_is_left_out(tmp_path: Path) -> None:
    info = tarfile.TarInfo("results/huge")
    info.pax_headers = {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.size": str(2**40)}
    info.pax_headers["GNU.sparse.map"] = "0,0"
    written, left_out = unpack(_archive(info), tmp_path / "results", _plain)
    assert (written, left_out) == ([], ["huge"])


def test_too_many_bytes_or_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "LARGEST_RESULTS", 50_000)
    with pytest.raises(ResultsError, match="more than 0 MB"):
        unpack(_archive(("results/a", b"1" * 60_000)), tmp_path / "results", _plain)
    monkeypatch.setattr(archives, "MOST_RESULTS", 2)
    with pytest.raises(ResultsError, match="more than 2 files"):
        unpack(_archive(*((f"results/{number}", b"") for number in range(3))), tmp_path / "results", _plain)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"no archive at all" * 100, b"\0" * 100])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ResultsError, match="cannot be taken out"):
        unpack([content], tmp_path / "results", _plain)
    assert list(tmp_path.iterdir()) == []
