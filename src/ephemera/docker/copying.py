"""Copy files to and from a service's container, as ``docker cp`` does, also where its root file system is read-only.

The ``tar`` of a running container does it: so files in tmpfs are there too, and the rights of its user count. Where
that fails, Docker's archives take its place. What comes out of a container is not trusted: nothing is written outside
the target, no link is followed, no device is made.
"""

from __future__ import annotations

import os
import posixpath
import shutil
import stat
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import IO

from docker.errors import APIError

from ephemera.docker import streams
from ephemera.docker.services import ServiceHandle
from ephemera.model.errors import EphemeraError, InputError, NotReadyError
from ephemera.model.text import lines

_FOLDER = 1 << 31
"""Bit of Docker's modes, which are Go's."""
_PERMISSIONS = 0o777
_SILENT = "it printed nothing"


class CopyError(EphemeraError):
    """A file or a folder could not be copied."""

    kind = "copy"


def out(handle: ServiceHandle, source: str, target: Path) -> list[str]:
    """Copy a file or folder of the container to ``target``, or into it if that is a folder; of a ``source`` that ends
    with ``/.``, copy its content. Return the names of what was left out: devices, pipes, and links that lead outside.
    """
    name = _name(source)
    if not target.is_dir() and not target.parent.is_dir():
        raise InputError(f"there is no folder {target.parent}", remedy="make it, or copy to another one")
    if name and target.is_dir():
        target /= name
    with archive_of(handle, source) as file:
        return unpack(file, target, name)


@contextmanager
def archive_of(handle: ServiceHandle, source: str) -> Iterator[IO[bytes]]:
    """Yield a file or folder of the container as a tar archive, a file at its start."""
    name = _name(source)
    folder = posixpath.dirname(source.rstrip("/")) if name else source
    with tempfile.TemporaryFile() as file:
        problem = _run(handle, ["tar", "-cf", "-", "-C", folder or ".", f"./{name}"], None, file)
        if problem:
            file.seek(0)
            file.truncate()
            try:
                for chunk in handle.client.api.get_archive(handle.container, source)[0]:
                    file.write(chunk)
            except APIError as error:
                raise CopyError(f"cannot copy {source} of service {handle.name!r}", remedy=problem) from error
        file.seek(0)
        yield file


def into(handle: ServiceHandle, source: Path, target: str, *, contents: bool = False) -> None:
    """Copy a local file or folder to ``target`` in the container, or into it if that is a folder. ``contents``: copy
    what is in the folder instead of the folder."""
    if not source.exists():
        raise InputError(f"there is no {source}", remedy="name a file or a folder")
    if _is_folder(handle, target):
        folder, name = target, source.resolve().name
    elif target.endswith("/") and not source.is_dir():
        raise InputError(f"there is no folder {target} in service {handle.name!r}", remedy="name one that is there")
    else:
        contents = False
        folder, name = posixpath.split(target.rstrip("/"))
    with tempfile.TemporaryFile() as file:
        with tarfile.open(fileobj=file, mode="w") as archive:
            parts = sorted(source.iterdir()) if contents else [source.resolve()]
            for part in parts:
                archive.add(part, arcname=part.name if contents else name, filter=_unowned)
        file.seek(0)
        extract(handle, file.fileno(), folder or ".")


def extract(handle: ServiceHandle, archive: int, target: str) -> None:
    """Extract a tar archive, read from the descriptor ``archive``, into the folder ``target`` of the container."""
    problem = _run(handle, ["tar", "-xf", "-", "-C", target], archive, None)
    if not problem:
        return
    try:
        with open(archive, "rb", closefd=False) as file:
            file.seek(0)
            handle.client.api.put_archive(handle.container, target, file)
    except (APIError, OSError) as error:
        raise CopyError(f"cannot copy to {target} in service {handle.name!r}", remedy=problem) from error


def unpack(file: IO[bytes], target: Path, name: str) -> list[str]:
    """Write what an archive holds, beneath its first folder ``name`` if there is one, to ``target``.

    Return the names of devices, pipes, and links that lead outside of ``target``, which are left out. Raises
    :class:`CopyError` for a path that leads elsewhere.
    """
    left_out: list[str] = []
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            for member in sorted(archive, key=tarfile.TarInfo.issym):  # links last: nothing is written through one
                parts = _beneath(member.name, name)
                path = target.joinpath(*parts)
                for folder in (target.joinpath(*parts[:end]) for end in range(1, len(parts) + member.isdir())):
                    if folder.is_symlink():
                        raise CopyError(f"{folder} is a link", remedy="copy to another folder, or less")
                if member.isdir():
                    path.mkdir(exist_ok=True)
                    path.chmod(member.mode & _PERMISSIONS | stat.S_IRWXU)
                elif (source := _file(archive, member)) is not None:
                    _write(path, archive.extractfile(source), source)
                elif member.issym() and _stays(member.linkname, parts):
                    path.unlink(missing_ok=True)
                    path.symlink_to(member.linkname)
                else:
                    left_out.append(member.name)
    except (tarfile.TarError, OSError) as error:
        raise CopyError(f"cannot copy to {target}", remedy=str(error)) from error
    return left_out


def _name(source: str) -> str:
    """Return the name of what is copied; empty for the content of a folder."""
    own = posixpath.basename(source.rstrip("/"))
    return "" if own in ("", ".", "..") else own


def _beneath(name: str, first: str) -> Sequence[str]:
    path = PurePosixPath(name)
    parts = [part for part in path.parts if part != "."]
    if path.is_absolute() or ".." in parts:
        raise CopyError(f"{name} leads elsewhere", remedy="copy another file or folder")
    return parts[1:] if first and parts[:1] == [first] else parts


def _file(archive: tarfile.TarFile, member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Return the regular file that ``member`` is or that it is a hard link to, None if there is none."""
    found = member
    if member.islnk():
        with suppress(KeyError):
            found = archive.getmember(member.linkname)
    return found if found.isreg() else None


def _stays(leads_to: str, parts: Sequence[str]) -> bool:
    """Whether a link at ``parts`` stays beneath the target: up first, if at all, and never too far."""
    steps = PurePosixPath(leads_to).parts
    up = next((at for at, step in enumerate(steps) if step != ".."), len(steps))
    return bool(steps) and steps[0] != "/" and ".." not in steps[up:] and up < len(parts)


def _write(path: Path, content: IO[bytes] | None, member: tarfile.TarInfo) -> None:
    assert content is not None  # noqa: S101 - a regular file has one
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        shutil.copyfileobj(content, file)
    path.chmod(member.mode & _PERMISSIONS)
    os.utime(path, (member.mtime, member.mtime))


def _unowned(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def _is_folder(handle: ServiceHandle, path: str) -> bool:
    problem = _run(handle, ["test", "-d", path], None, None)
    if not problem or problem == _SILENT:
        return not problem
    try:
        return bool(handle.client.api.get_archive(handle.container, path)[1]["mode"] & _FOLDER)
    except APIError:
        return False


def _run(handle: ServiceHandle, command: Sequence[str], source: int | None, target: IO[bytes] | None) -> str:
    """Run ``command``, its input from one file, its output to the other; return what went wrong, else nothing."""
    wrong = bytearray()

    def show(kind: int, part: bytes) -> None:
        if kind == streams.STDERR:
            wrong.extend(part if len(wrong) < streams.AT_ONCE else b"")
        elif target is not None:
            target.write(part)

    try:
        with handle.executing(command, source) as execution:
            exit_code = execution.run(show)
    except NotReadyError as error:  # it does not run
        return str(error)
    if exit_code == 0:
        return ""
    return execution.refusal or (lines(bytes(wrong).strip()) or [_SILENT])[0]
