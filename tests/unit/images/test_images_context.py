"""A build context: what belongs to it, what changes its hash, and what the engine is sent."""

from __future__ import annotations

import errno
import io
import os
import socket
import tarfile
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import pytest

from ephemera.images import context as packing
from ephemera.images.context import context_hash, dockerfile_path, files, pack, read_dockerfile
from ephemera.model.errors import InputError


@pytest.fixture
def context(tmp_path: Path) -> Path:
    folder = tmp_path / "service"
    (folder / "src").mkdir(parents=True)
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY src /src\n")
    (folder / "src" / "app.py").write_text("print(1)\n")
    return folder


def names(context: Path) -> list[str]:
    return list(files(context, "Dockerfile"))


def hashed(context: Path) -> str:
    return context_hash(context, "Dockerfile")


def packed(context: Path) -> tarfile.TarFile:
    stream = io.BytesIO()
    pack(context, "Dockerfile", stream, ("FROM read\n", "FROM other\n"))
    stream.seek(0)
    return tarfile.open(fileobj=stream)


def test_everything_belongs_to_it(context: Path) -> None:
    assert names(context) == ["Dockerfile", "src", "src/app.py"]


def test_what_is_ignored_does_not_change_the_hash(context: Path) -> None:
    (context / ".dockerignore").write_text("notes\n")
    before = hashed(context)
    (context / "notes").write_text("")
    assert hashed(context) == before


def test_content_name_and_kind_change_the_hash(context: Path) -> None:
    seen = {hashed(context)}
    (context / "src" / "app.py").write_text("print(2)\n")
    seen.add(hashed(context))
    (context / "src" / "app.py").rename(context / "src" / "main.py")
    seen.add(hashed(context))
    (context / "src" / "app.py").symlink_to("main.py")
    seen.add(hashed(context))
    (context / "src" / "empty").mkdir()
    seen.add(hashed(context))
    assert len(seen) == 5


def test_the_executable_bit_counts_and_the_other_modes_do_not(context: Path) -> None:
    before = hashed(context)
    (context / "src" / "app.py").chmod(0o600)
    os.utime(context / "src" / "app.py", (1, 1))
    assert hashed(context) == before
    (context / "src" / "app.py").chmod(0o755)
    assert hashed(context) != before


def test_the_archive_is_the_same_in_every_clone(context: Path) -> None:
    (context / "run.sh").write_text("#!/bin/sh\n")
    (context / "run.sh").chmod(0o700)
    (context / "latest").symlink_to("src/app.py")
    with packed(context) as tar:
        members = {member.name: member for member in tar}
        dockerfile = tar.extractfile("Dockerfile")
        assert dockerfile is not None
        assert dockerfile.read() == b"FROM other\n"
    assert members["run.sh"].mode == 0o755
    assert members["src/app.py"].mode == 0o644
    assert members["src"].isdir()
    assert members["latest"].linkname == "src/app.py"
    assert {(member.uid, member.gid, member.mtime) for member in members.values()} == {(0, 0, 0)}


def _strange(context: Path) -> None:
    """Add what is neither a file nor a folder, and names of all kinds, to it."""
    os.mkfifo(context / "control")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(context / "socket"))  # absolute ones may be too long
    for name in (b"b\xffd", b"new\nline", b"-dash", "sep\u2028".encode(), b"x" * 255):
        Path(context / os.fsdecode(name)).write_text("content")
    (context / "dangling").symlink_to("nowhere")
    (context / "loop").symlink_to("loop")
    (context / "src" / "up").symlink_to("..")
    (context / "bad link").symlink_to(os.fsdecode(b"\xff"))


@pytest.mark.timeout(20)
def test_anything_that_a_folder_may_hold_is_packed_or_left_out(context: Path) -> None:
    _strange(context)
    before = hashed(context)
    with packed(context) as tar:
        members = {os.fsencode(member.name): member for member in tar}
    assert members[b"control"].isfifo()
    assert b"socket" not in members
    assert {b"b\xffd", b"new\nline", b"-dash", "sep\u2028".encode(), b"x" * 255} <= members.keys()
    assert members[b"loop"].linkname == "loop"
    assert members[b"src/up"].linkname == ".."
    (context / "control").unlink()
    assert hashed(context) != before


def test_file_that_went_or_became_shorter_while_it_was_read_is_one_error(
    context: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = files(context, "Dockerfile")
    real = os.fstat
    monkeypatch.setattr(os, "fstat", lambda fd: SimpleNamespace(st_size=real(fd).st_size + 1))
    with pytest.raises(InputError, match=r"Dockerfile of a build context cannot be read \(unexpected end of data\)"):
        hashed(context)
    (context / "src" / "app.py").unlink()
    monkeypatch.setattr(packing, "files", lambda *_: found)
    with pytest.raises(InputError, match=r"src/app\.py of a build context cannot be read \(No such file"):
        packed(context)


@pytest.mark.timeout(20)
def test_file_that_becomes_a_fifo_before_it_is_opened_does_not_block(
    context: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = os.open

    def replaced(path: Path, flags: int) -> int:
        path.unlink()
        os.mkfifo(path)
        return opened(path, flags)

    monkeypatch.setattr(os, "open", replaced)
    assert hashed(context)


def test_what_cannot_be_read_is_named_with_a_way_out(context: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read everything, so the system is asked to refuse."""
    scandir = os.scandir

    def refused(path: Path) -> object:
        if path.name == "src":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(
        InputError, match=r"src of a build context cannot be read \(Permission denied\): .*\.dockerignore"
    ):
        files(context, "Dockerfile")
    (context / ".dockerignore").write_text("src\n")
    assert names(context) == [".dockerignore", "Dockerfile"]


def test_deep_folders_and_large_files_need_neither_stack_nor_memory(context: Path) -> None:
    deep = [context / "/".join("d" * depth) for depth in range(1, 1050)]
    for folder in deep:
        folder.mkdir()
    with (context / "sparse").open("wb") as file:
        file.truncate(1 << 26)
    try:
        found = files(context, "Dockerfile")
    finally:
        for folder in reversed(deep):  # which pytest could not
            folder.rmdir()
    assert len(found) == len(deep) + 4
    tracemalloc.start()
    hashed(context)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 24


def test_linked_dockerfile_is_hashed_and_sent_as_the_file_that_it_leads_to(context: Path, tmp_path: Path) -> None:
    (tmp_path / "shared").write_text("FROM x\n")
    (context / "Dockerfile").unlink()
    (context / "Dockerfile").symlink_to("../shared")
    before = hashed(context)
    (tmp_path / "shared").write_text("FROM z\n")
    assert hashed(context) != before
    with packed(context) as tar:
        assert tar.getmember("Dockerfile").isreg()


def test_dockerfile_in_an_ignored_folder_belongs_to_it(context: Path) -> None:
    (context / "docker").mkdir()
    (context / "docker" / "Dockerfile").write_text("FROM x\n")
    (context / "docker" / "notes").write_text("")
    (context / ".dockerignore").write_text("docker\nDockerfile\n.dockerignore\n")
    found = list(files(context, "./docker/../docker/Dockerfile"))
    assert found == [
        ".dockerignore",
        "docker/Dockerfile",
        "src",
        "src/app.py",
    ]


def test_dockerfile_by_a_linked_folder_is_the_one_that_is_packed(context: Path, tmp_path: Path) -> None:
    (context / "src" / "Dockerfile").write_text("FROM x\n")
    (context / "linked").symlink_to("src")
    assert dockerfile_path(context, "linked/Dockerfile") == "src/Dockerfile"
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "Dockerfile").write_text("FROM x\n")
    (context / "out").symlink_to("../elsewhere")
    with pytest.raises(InputError, match="is not a file in the build context"):
        files(context, "out/Dockerfile")


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "dockerfile", ["../Dockerfile", "..", "/etc/hosts", "src/../../Dockerfile", "src", "control", "Dockerfile.worker"]
)
def test_dockerfile_that_is_not_a_file_in_its_context_is_refused(context: Path, dockerfile: str) -> None:
    (context.parent / "Dockerfile").touch()
    os.mkfifo(context / "control")
    with pytest.raises(InputError, match=f"is not a file in the build context {context}: check `context`"):
        files(context, dockerfile)


def test_context_that_is_not_a_folder_is_refused(context: Path) -> None:
    with pytest.raises(InputError, match=r"is not a file in the build context .*app\.py: check `context`"):
        files(context / "src" / "app.py", "Dockerfile")
    with pytest.raises(InputError, match="cannot be read"):
        files(context, "x" * 300)


def test_dockerfile_that_is_no_utf8_is_kept_as_it_is(context: Path) -> None:
    (context / "Dockerfile").write_bytes(b"FROM x\nRUN echo \xff\n")
    assert read_dockerfile(context, "Dockerfile").encode(errors="surrogateescape") == b"FROM x\nRUN echo \xff\n"
