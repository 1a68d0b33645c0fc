"""A build context: the files that ``.dockerignore`` leaves, their hash, and the archive that the engine is sent.

Owner, times and all but the executable bit of the modes are left out of both, so that two clones agree. Sockets and
devices are left out, and a FIFO is sent as one: nothing but regular files is ever opened.
"""

from __future__ import annotations

import hashlib
import io
import os
import posixpath
import stat
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from ephemera.contract.errors import InputError
from ephemera.images.ignoring import NAME as IGNORE_FILE
from ephemera.images.ignoring import Ignored

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Entry:
    """One file, folder, link or FIFO of a context. ``path``: relative, with slashes."""

    path: str
    source: Path
    executable: bool = False
    link: str | None = None
    folder: bool = False
    fifo: bool = False


def entries(context: Path, dockerfile: str) -> list[Entry]:
    """Return what belongs to the context, sorted.

    Raises :class:`InputError` for a folder or a Dockerfile that is not there, and for what this user may not read.
    """
    named = dockerfile_path(context, dockerfile)
    with _readable(context / IGNORE_FILE):
        ignored = Ignored.of(context, named)
    # A Dockerfile may be a link: it is sent, and hashed, as the file that it leads to.
    found = [
        replace(entry, source=entry.source.resolve(), link=None) if entry.path == named else entry
        for entry in _walked(context, ignored)
    ]
    return sorted(found, key=lambda entry: entry.path)


def dockerfile_path(context: Path, dockerfile: str) -> str:
    """Return where the Dockerfile is in the context, without links to folders; raise :class:`InputError` for one that
    is outside of it or not a file."""
    remedy = "check `context` and `dockerfile` of the image"
    path = context / dockerfile
    with _readable(path):
        if not context.is_dir():
            raise InputError(f"{context} is not a folder", remedy=remedy)
        folder, root = path.parent.resolve(), context.resolve()
        if not folder.is_relative_to(root) or path.name in ("", ".."):
            raise InputError(
                f"Dockerfile {dockerfile} is outside of its context {context}",
                remedy="give a path in the context, or make `context` a folder that holds both",
            )
        if not path.is_file():
            kind = "is not a regular file" if os.path.lexists(path) else "is not there"
            raise InputError(f"{path} {kind}", remedy=remedy)
    return (folder.relative_to(root) / path.name).as_posix()


def read_dockerfile(context: Path, dockerfile: str) -> str:
    """Return the text of the Dockerfile; bytes that are not UTF-8 are kept as surrogates."""
    path = context / dockerfile_path(context, dockerfile)
    with _readable(path):
        return path.read_bytes().decode(errors="surrogateescape")


def context_hash(found: list[Entry]) -> str:
    """Return a hash over names, kinds, executable bits and contents."""
    digest = hashlib.sha256()
    for entry in found:
        kind = (
            "folder" if entry.folder
            else "link" if entry.link is not None
            else "fifo" if entry.fifo
            else "x" if entry.executable
            else "-"
        )  # fmt: skip
        digest.update(b"%s %s\0" % (kind.encode(), os.fsencode(entry.path)))
        digest.update(_content_hash(entry))
    return digest.hexdigest()


def archive(found: list[Entry], replaced: dict[str, bytes], output: IO[bytes]) -> None:
    """Write the context as a tar archive; ``replaced`` gives the content of single files."""
    # GNU's format has names as the bytes that they are, of any length.
    with tarfile.open(fileobj=output, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for entry in found:
            member = tarfile.TarInfo(entry.path)
            member.mode = 0o755 if entry.executable or entry.folder else 0o644
            if entry.path in replaced:
                member.size = len(replaced[entry.path])
                tar.addfile(member, io.BytesIO(replaced[entry.path]))
            elif entry.folder:
                member.type = tarfile.DIRTYPE
                tar.addfile(member)
            elif entry.link is not None:
                member.type, member.linkname = tarfile.SYMTYPE, entry.link
                tar.addfile(member)
            elif entry.fifo:
                member.type = tarfile.FIFOTYPE
                tar.addfile(member)
            else:
                _add_file(tar, member, entry)


def _add_file(tar: tarfile.TarFile, member: tarfile.TarInfo, entry: Entry) -> None:
    with _opened(entry.source) as content:
        member.size = os.fstat(content.fileno()).st_size
        try:
            tar.addfile(member, content)
        except OSError as error:
            if error.errno is not None:
                raise
            # tarfile's own: the file ended before its size.
            what = f"{_shown(entry.source)} became shorter while it was packed"
            raise InputError(what, remedy="run it again") from error


def _content_hash(entry: Entry) -> bytes:
    digest = hashlib.sha256()
    if entry.link is not None:
        digest.update(os.fsencode(entry.link))
    elif not entry.folder and not entry.fifo:
        with _opened(entry.source) as content:
            while chunk := content.read(_CHUNK_BYTES):
                digest.update(chunk)
    return digest.digest()


def _walked(context: Path, ignored: Ignored) -> Iterator[Entry]:
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        with _readable(context / folder):
            listed = sorted(os.scandir(context / folder), key=lambda each: each.name)
        for each in listed:
            path = posixpath.join(folder, each.name)
            is_folder = each.is_dir(follow_symlinks=False)
            if path not in ignored:
                yield from _entry(path, Path(each.path))
            elif not is_folder or ignored.all_below(path):
                continue
            if is_folder:
                waiting.append(path)


def _entry(path: str, source: Path) -> Iterator[Entry]:
    with _readable(source):
        mode = source.lstat().st_mode
        if stat.S_ISLNK(mode):
            yield Entry(path, source, link=str(source.readlink()))
        elif stat.S_ISDIR(mode):
            yield Entry(path, source, folder=True)
        elif stat.S_ISREG(mode):
            yield Entry(path, source, executable=bool(mode & stat.S_IXUSR))
        elif stat.S_ISFIFO(mode):
            yield Entry(path, source, fifo=True)


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a regular file. One that was replaced by a FIFO since it was listed does not block."""
    with _readable(path):
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        yield file


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{_shown(path)} of a build context cannot be read ({error.strerror or error})",
            remedy=f"mend that, or name it in the context's {IGNORE_FILE}",
        ) from error


def _shown(path: Path) -> str:
    text = str(path)
    return text if text.isprintable() else repr(text)
