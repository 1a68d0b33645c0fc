"""A build context: the files that ``.dockerignore`` leaves, their hash, and the archive that the engine is sent.

Owner, times and all but the executable bit of the modes are left out of both, so that two clones agree. Sockets and
devices are left out, and a FIFO is sent as one: nothing but regular files is ever opened.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import posixpath
import re
import stat
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import IO

from ephemera.model.errors import InputError

IGNORE_FILE = ".dockerignore"
_WILD = re.compile(r"[*?\[\\]")
_KINDS = {
    stat.S_IFREG: (tarfile.REGTYPE, b"-"),
    stat.S_IFDIR: (tarfile.DIRTYPE, b"folder"),
    stat.S_IFLNK: (tarfile.SYMTYPE, b"link"),
    stat.S_IFIFO: (tarfile.FIFOTYPE, b"fifo"),
}
"""What is sent, by file type: its type in the archive and its kind in the hash."""


def files(context: Path, dockerfile: str) -> dict[str, Path]:
    """Return what belongs to the context, by its path there with slashes, sorted.

    Raise :class:`InputError` for a folder or a Dockerfile that is not there, and for what this user may not read.
    """
    named = dockerfile_path(context, dockerfile)
    with _readable(context / IGNORE_FILE):
        ignored = Ignored(context, named)
    found: dict[str, Path] = {}
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        with _readable(context / folder), os.scandir(context / folder) as listed:
            for each in listed:
                path = posixpath.join(folder, each.name)
                if path not in ignored:
                    # A Dockerfile may be a link: it is sent, and hashed, as the file that it leads to.
                    found[path] = Path(each.path).resolve() if path == named else Path(each.path)
                if each.is_dir(follow_symlinks=False) and (path in found or not ignored.all_below(path)):
                    waiting.append(path)
    return dict(sorted(found.items()))


def dockerfile_path(context: Path, dockerfile: str) -> str:
    """Return where the Dockerfile is in the context, without links to folders; raise :class:`InputError` unless it is a
    file there."""
    path = context / dockerfile
    with _readable(path):
        folder, root = path.parent.resolve(), context.resolve()
        if not (folder.is_relative_to(root) and path.is_file()):
            raise InputError(
                f"{path} is not a file in the build context {context}",
                remedy="check `context` and `dockerfile` of the image: the context must hold the Dockerfile",
            )
    return (folder.relative_to(root) / path.name).as_posix()


def read_dockerfile(context: Path, dockerfile: str) -> str:
    """Return the text of the Dockerfile; bytes that are not UTF-8 are kept as surrogates."""
    path = context / dockerfile_path(context, dockerfile)
    with _readable(path):
        return path.read_bytes().decode(errors="surrogateescape")


def context_hash(context: Path, dockerfile: str) -> str:
    """Return a hash over names, kinds, executable bits and contents."""
    with Path(os.devnull).open("wb") as nowhere:
        return pack(context, dockerfile, nowhere)


def pack(context: Path, dockerfile: str, output: IO[bytes], sent: tuple[str, str] | None = None) -> str:
    """Write the context as a tar archive, and return the hash of what was packed.

    ``sent``: text that the Dockerfile was read as, which is hashed, and the text that is packed instead of it.
    """
    named = dockerfile_path(context, dockerfile)
    digest = hashlib.sha256()
    # GNU's format has names as the bytes that they are, of any length.
    with tarfile.open(fileobj=output, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for path, source in files(context, dockerfile).items():
            member = tarfile.TarInfo(path)
            with _readable(source):
                mode = source.lstat().st_mode
                if stat.S_IFMT(mode) not in _KINDS:
                    continue
                member.type, kind = _KINDS[stat.S_IFMT(mode)]
                if member.isreg() and mode & stat.S_IXUSR:
                    kind = b"x"
                member.mode = 0o755 if kind in (b"x", b"folder") else 0o644
                digest.update(b"%s %s\0" % (kind, os.fsencode(path)))
                if path == named and sent:
                    read, packed = (text.encode(errors="surrogateescape") for text in sent)
                    member.size = len(packed)
                    tar.addfile(member, io.BytesIO(packed))
                    digest.update(hashlib.sha256(read).digest())
                elif member.isreg():
                    # A file that was replaced by a FIFO meanwhile must not block.
                    descriptor = os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
                    with _Hashing(descriptor) as file:
                        member.size = os.fstat(descriptor).st_size
                        tar.addfile(member, file)
                        digest.update(file.digest.digest())
                else:
                    member.linkname = str(source.readlink()) if member.issym() else ""
                    tar.addfile(member)
                    digest.update(hashlib.sha256(os.fsencode(member.linkname)).digest())
    return digest.hexdigest()


class _Hashing(io.BufferedReader):
    """A file whose content is hashed while it is read."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(io.FileIO(descriptor))
        self.digest = hashlib.sha256()

    def read(self, size: int | None = -1) -> bytes:
        """Read up to ``size`` bytes."""
        content = super().read(size)
        self.digest.update(content)
        return content


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise  # of the archive
        raise InputError(
            f"{_shown(path)} of a build context cannot be read ({error.strerror or error})",
            remedy=f"make it readable, or name it in the context's {IGNORE_FILE}",
        ) from error


def _shown(path: Path) -> str:
    text = str(path)
    return text if text.isprintable() else repr(text)


@dataclass(frozen=True)
class _Pattern:
    """One line. ``excepted``: it begins with ``!``. ``literal``: the text before its first wildcard."""

    matches: re.Pattern[str]
    excepted: bool
    literal: str


class Ignored:
    """The paths of a build context that are left out: the last pattern that matches a path or a folder above it counts.

    Reads ``<dockerfile>.dockerignore``, else ``.dockerignore``; neither it nor the Dockerfile can be ignored. Raises
    :class:`InputError` for a pattern that is not valid and a file that is not regular.
    """

    def __init__(self, context: Path, dockerfile: str) -> None:
        names = (f"{dockerfile}{IGNORE_FILE}", IGNORE_FILE)
        for path in (context / name for name in names):
            # Docker opens both, and would wait for a writer of a FIFO.
            if path.exists() and not path.is_file():
                raise InputError(f"{path} is not a regular file", remedy="make it one, or remove it")
        self._patterns: list[_Pattern] = []
        if name := next((name for name in names if (context / name).is_file()), None):
            text = (context / name).read_bytes().decode(errors="surrogateescape").removeprefix("\ufeff")
            lines = [line.strip() for line in text.split("\n") if not line.startswith("#")]
            lines += ["!" + _WILD.sub(r"\\\g<0>", each) for each in (dockerfile, name)]
            self._patterns = [pattern for line in lines if (pattern := _pattern(context / name, line))]

    def __contains__(self, path: str) -> bool:
        ignored = False
        for pattern in self._patterns:
            downwards = accumulate(path.split("/"), posixpath.join)
            if pattern.excepted == ignored and any(map(pattern.matches.fullmatch, downwards)):
                ignored = not ignored
        return ignored

    def all_below(self, folder: str) -> bool:
        """Return whether no exception may match anything below a folder that is ignored."""
        inside = f"{folder}/"
        return not any(
            pattern.excepted and (pattern.literal.startswith(inside) or inside.startswith(pattern.literal))
            for pattern in self._patterns
        )


def _pattern(file: Path, line: str) -> _Pattern | None:
    """Return the pattern of a line, None for an empty one and for ``.``, which Docker ignores, too."""
    if line == "!":
        raise InputError(f"{file}: {line!r} names nothing", remedy="put a pattern after the `!`")
    text = posixpath.normpath(line.removeprefix("!").strip())
    text = text.lstrip("/") if len(text) > 1 else text
    if text == ".":
        return None
    try:
        matches = re.compile(_expression(text), re.DOTALL)
    except re.error as error:
        raise InputError(
            f"{file}: {line!r} is not a pattern ({error})", remedy="close or escape its brackets"
        ) from error
    return _Pattern(matches, line.startswith("!"), _WILD.split(text)[0])


def _expression(pattern: str) -> str:
    """Return a pattern of Go's ``filepath.Match``, with ``**`` for any number of folders, as a regular expression."""
    parts: list[str] = []
    tokens: list[str] = re.findall(r"\*\*/?|\\.|\[[^\]]*\]|.", pattern, re.DOTALL)
    for number, token in enumerate(tokens, 1):
        if token.startswith("**"):
            parts.append("(?:.*/)?" if number < len(tokens) else ".*")
        elif token in ("*", "?"):
            parts.append("[^/]*" if token == "*" else "[^/]")  # noqa: S105 - a wildcard
        elif token.startswith("["):
            parts.append(token)
        else:
            parts.append(re.escape(token.removeprefix("\\") or token))
    return "".join(parts)
