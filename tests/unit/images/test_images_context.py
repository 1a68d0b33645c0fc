"""A build context: what belongs to it, what changes its hash, and what the engine is sent."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from ephemera.contract.errors import InputError
from ephemera.images.context import archive, context_hash, entries


@pytest.fixture
def context(tmp_path: Path) -> Path:
    folder = tmp_path / "service"
    (folder / "src").mkdir(parents=True)
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY src /src\n")
    (folder / "src" / "app.py").write_text("print(1)\n")
    return folder


def names(context: Path) -> list[str]:
    return [entry.path for entry in entries(context, "Dockerfile")]


def hashed(context: Path) -> str:
    return context_hash(entries(context, "Dockerfile"))


def test_everything_belongs_to_it(context: Path) -> None:
    assert names(context) == ["Dockerfile", "src", "src/app.py"]


def test_dockerignore_is_honoured(context: Path) -> None:
    (context / "node_modules").mkdir()
    (context / "node_modules" / "x.js").write_text("")
    (context / "src" / "app.pyc").write_text("")
    (context / ".dockerignore").write_text("# built\nnode_modules\n**/*.pyc\n!src/keep.pyc\n")
    (context / "src" / "keep.pyc").write_text("")
    assert names(context) == [".dockerignore", "Dockerfile", "src", "src/app.py", "src/keep.pyc"]


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
    stream = io.BytesIO()
    archive(entries(context, "Dockerfile"), {"Dockerfile": b"FROM other\n"}, stream)
    stream.seek(0)
    with tarfile.open(fileobj=stream) as tar:
        members = {member.name: member for member in tar}
        dockerfile = tar.extractfile("Dockerfile")
        assert dockerfile is not None
        assert dockerfile.read() == b"FROM other\n"
    assert members["run.sh"].mode == 0o755
    assert members["src/app.py"].mode == 0o644
    assert members["src"].isdir()
    assert members["latest"].linkname == "src/app.py"
    assert {(member.uid, member.gid, member.mtime) for member in members.values()} == {(0, 0, 0)}


def test_a_missing_dockerfile_is_refused(context: Path) -> None:
    with pytest.raises(InputError, match=r"Dockerfile\.worker is not there: check `context` and `dockerfile`"):
        entries(context, "Dockerfile.worker")
