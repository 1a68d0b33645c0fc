"""Where the warm process is, and which processes may be its forks."""

from __future__ import annotations

import os
import socket
import struct
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

from ephemera.contract.errors import MachineError
from ephemera.home.paths import own_cache_dir
from ephemera.host import surroundings
from ephemera.host.sockets import short_path

# What the dynamic linker and Python read when they start, and packages when they are imported.
_READ_AT_START = (
    *("LC_", "LANG", "LD_", "GLIBC_", "MALLOC_", "OPENSSL_", "PYTHON"),
    *("GRPC_", "OTEL_", "PROTOCOL_BUFFERS_", "PSUTIL_", "PYDANTIC_"),  # and nothing of Pulumi's, which is not obeyed
    *("TEMPORARILY_DISABLE_PROTOBUF_", "TRACEPARENT", "TYPER_"),
)
_PLACES = ("HOME", "XDG_CACHE_HOME")
_STATUS = ("Uid:", "Gid:", "Groups:", "Cap", "NoNewPrivs:", "Seccomp:", "Cpus_allowed_list:")
_SOURCE = Path(__file__).parents[1]
_NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")


def wanted() -> bool:
    """Whether a warm process may be used here."""
    return sys.platform == "linux" and surroundings.variables().get("EPHEMERA_WARM", "") != "off"


def likeness() -> str:
    """All that a process has from its start and that cannot be given to a fork: only one of the same likeness will do.

    The interpreter and what is installed, ephemera's own source, the user with all groups and rights, namespaces,
    limits, and the variables that are read at start.
    """
    variables = sorted(surroundings.variables().items())
    return "\n".join(
        (
            f"{sys.executable} {sys.version} {sys.flags} {sys.warnoptions} {sys.prefix} {os.nice(0)}",
            *(line for line in _of_this_process("status") if line.startswith(_STATUS)),
            *_of_this_process("limits"),
            " ".join(_namespace(name) for name in _NAMESPACES),
            " ".join(f"{name}={value}" for name, value in variables if name.startswith(_READ_AT_START)),
            *_installed(),
        )
    )


def umask() -> int:
    """This process's, without setting it for a moment: other threads may be making files."""
    line = next(line for line in _of_this_process("status") if line.startswith("Umask:"))
    return int(line.split()[1], 8)


def environment() -> dict[str, str]:
    """What of this process's environment the warm process is started with: all else comes with each request."""
    variables = surroundings.variables()
    return {name: value for name, value in variables.items() if name.startswith(_READ_AT_START) or name in _PLACES}


def folder() -> Path:
    """Where sockets, locks and the log are; mode 0700."""
    return own_cache_dir("warm")


def name_of(likeness: str) -> str:
    """A short name for it. Two may have the same one: the server compares the whole."""
    return f"{zlib.crc32(likeness.encode()):08x}"


def connected(likeness: str) -> socket.socket | None:
    """A connection to the warm process of that likeness; None where there is none."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with short_path(folder() / f"{name_of(likeness)}.sock") as path:
            connection.connect(path)
        check_peer(connection)
        return connection
    except (OSError, MachineError):  # a cache that cannot be used is the command's to tell
        connection.close()
        return None


def check_peer(connection: socket.socket) -> None:
    """Raise :class:`PermissionError` unless a process of this user is at the other end."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    if struct.unpack("3i", credentials)[1] != os.getuid():
        raise PermissionError("the other end is another user's")


def _namespace(name: str) -> str:
    path = Path(f"/proc/self/ns/{name}")
    return str(path.readlink()) if path.is_symlink() else ""  # kernels before 5.6 have none of time


def _of_this_process(file: str) -> list[str]:
    return Path(f"/proc/self/{file}").read_text().splitlines()


def _installed() -> Iterator[str]:
    """Every place that modules come from, as of when; ephemera itself by file, since it may be a checkout at work."""
    for path in sys.path:
        if path.endswith("-packages"):
            yield f"{path} {_changed(path)}"
    yield from _sources(_SOURCE)


def _sources(folder: Path | str) -> Iterator[str]:
    # Not Path.rglob, which takes ten times as long: this is done before every command.
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda each: each.name):
            if entry.name.endswith(".py"):
                yield f"{entry.path} {_changed(entry.path)}"
            elif entry.is_dir() and entry.name != "__pycache__":
                yield from _sources(entry.path)


def _changed(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns  # noqa: PTH116 - some hundred times before every command
    except FileNotFoundError:
        return 0
