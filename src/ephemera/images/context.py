"""A build context: the files that ``.dockerignore`` leaves, their hash, and the archive that the engine is sent.

Owner, times and all but the executable bit of the modes are left out of both, so that two clones agree.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ephemera.contract.errors import InputError


@dataclass(frozen=True)
class Entry:
    """One file, folder or link of a context. ``path``: relative, with slashes."""

    path: str
    source: Path
    executable: bool = False
    link: str | None = None
    folder: bool = False


def entries(context: Path, dockerfile: str) -> list[Entry]:
    """What belongs to the context, sorted. A missing folder or Dockerfile is refused."""
    if not (context / dockerfile).is_file():
        raise InputError(f"{context / dockerfile} is not there", remedy="check `context` and `dockerfile` of the image")
    return [_entry(context, name) for name in sorted(_included(context, dockerfile))]


def context_hash(found: list[Entry]) -> str:
    """Hash over names, kinds, executable bits and contents."""
    digest = hashlib.sha256()
    for entry in found:
        kind = "folder" if entry.folder else "link" if entry.link is not None else "x" if entry.executable else "-"
        digest.update(f"{kind} {entry.path}\0".encode())
        content = b"" if entry.folder else entry.link.encode() if entry.link is not None else entry.source.read_bytes()
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()


def archive(found: list[Entry], replaced: dict[str, bytes], output: IO[bytes]) -> None:
    """Write the context as a tar archive; ``replaced`` gives the content of single files."""
    with tarfile.open(fileobj=output, mode="w") as tar:
        for entry in found:
            member = tarfile.TarInfo(entry.path)
            member.mode = 0o755 if entry.executable or entry.folder else 0o644
            if entry.folder:
                member.type = tarfile.DIRTYPE
                tar.addfile(member)
            elif entry.link is not None:
                member.type, member.linkname = tarfile.SYMTYPE, entry.link
                tar.addfile(member)
            else:
                content = replaced[entry.path] if entry.path in replaced else entry.source.read_bytes()
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


def _included(context: Path, dockerfile: str) -> Iterator[str]:
    ignore = context / ".dockerignore"
    if ignore.is_file():
        from docker.utils.build import exclude_paths

        lines = (line.strip() for line in ignore.read_text().splitlines())
        patterns = [line for line in lines if line and not line.startswith("#")]
        yield from (path for path in exclude_paths(str(context), patterns, dockerfile=dockerfile) if path)
        return
    for folder, folders, files in os.walk(context):
        base = Path(folder).relative_to(context)
        yield from ((base / name).as_posix() for name in (*folders, *files))


def _entry(context: Path, name: str) -> Entry:
    source = context / name
    if source.is_symlink():
        return Entry(name, source, link=str(source.readlink()))
    if source.is_dir():
        return Entry(name, source, folder=True)
    return Entry(name, source, executable=bool(source.stat().st_mode & stat.S_IXUSR))
