"""Where the warm process is, and which processes may be its forks."""

from __future__ import annotations

import os
import socket
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ephemera
from ephemera.home.paths import cache_dir

# What Python, gRPC and the dynamic linker read when they start.
_READ_AT_START = ("PYTHON", "LC_", "LANG", "LD_", "GRPC_", "OTEL_", "PULUMI_OTEL_", "TRACEPARENT")
_NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")


def wanted() -> bool:
    """Whether a warm process may be used here."""
    return sys.platform == "linux" and os.environ.get("EPHEMERA_WARM", "") != "off"


def likeness() -> str:
    """All that a process has from its start and that cannot be given to a fork: only one of the same likeness will do.

    The interpreter and what is installed, ephemera's own source, the user with all groups, namespaces, and the
    variables that are read at start.
    """
    return "\n".join(
        (
            f"{sys.executable} {sys.version} {sys.flags} {sys.prefix}",
            f"{os.getuid()} {os.geteuid()} {os.getgid()} {os.getegid()} {sorted(os.getgroups())}",
            " ".join(str(Path(f"/proc/self/ns/{name}").readlink()) for name in _NAMESPACES),
            " ".join(f"{name}={os.environ[name]}" for name in sorted(os.environ) if name.startswith(_READ_AT_START)),
            *_installed(),
        )
    )


def folder() -> Path:
    """Where sockets, locks and the log are; mode 0700."""
    directory = cache_dir() / "warm"
    directory.mkdir(mode=0o700, exist_ok=True)
    return directory


def name_of(likeness: str) -> str:
    """A short name for it. Two may have the same one: the server compares the whole."""
    return f"{zlib.crc32(likeness.encode()):08x}"


@contextmanager
def short_path(directory: Path, name: str) -> Iterator[str]:
    """A path of ``name`` in ``directory`` that fits into a socket's address, however deep the folder is."""
    descriptor = os.open(directory, os.O_PATH | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{name}"
    finally:
        os.close(descriptor)


def connected() -> socket.socket | None:
    """A connection to the warm process of this likeness; None where there is none."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with short_path(folder(), f"{name_of(likeness())}.sock") as path:
            connection.connect(path)
        return connection
    except OSError:
        connection.close()
        return None


def _installed() -> Iterator[str]:
    """Every place that modules come from, as of when; ephemera itself by file, since it may be a checkout at work."""
    for path in sys.path:
        if path.endswith("-packages"):
            yield f"{path} {_changed(path)}"
    yield from _sources(Path(ephemera.__file__).parent)


def _sources(folder: Path | str) -> Iterator[str]:
    # Not Path.rglob, which takes ten times as long: this is done before every command.
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda each: each.name):
            if entry.name.endswith(".py"):
                yield f"{entry.path} {entry.stat().st_mtime_ns}"
            elif entry.is_dir() and entry.name != "__pycache__":
                yield from _sources(entry.path)


def _changed(path: str) -> int:
    try:
        return Path(path).stat().st_mtime_ns
    except FileNotFoundError:
        return 0
