"""The address of the warm process, and the fingerprint of processes that may be its forks."""

from __future__ import annotations

import hashlib
import os
import socket
import struct
import sys
from pathlib import Path

from ephemera.home.paths import own_cache_dir
from ephemera.host import surroundings
from ephemera.host.fingerprint import Files, stamp
from ephemera.host.sockets import short_path
from ephemera.model.errors import MachineError

# The dynamic linker and Python read these when they start, and packages when they are imported.
_READ_AT_START = (
    *("LC_", "LANG", "LD_", "GLIBC_", "MALLOC_", "OPENSSL_", "PYTHON"),
    *("GRPC_", "OTEL_", "PROTOCOL_BUFFERS_", "PSUTIL_", "PYDANTIC_"),  # and nothing of Pulumi's, which is not obeyed
    *("TEMPORARILY_DISABLE_PROTOBUF_", "TRACEPARENT", "TYPER_"),
)
_PLACES = ("HOME", "XDG_CACHE_HOME")
_STATUS = ("Uid:", "Gid:", "Groups:", "Cap", "NoNewPrivs:", "Seccomp:", "Cpus_allowed_list:")
_SOURCE = Path(__file__).parents[1]


def wanted() -> bool:
    """Return whether a warm process may be used here."""
    return sys.platform == "linux" and surroundings.variables().get("EPHEMERA_WARM", "") != "off"


def fingerprint() -> str:
    """Return a digest of all that a process has from its start and that cannot be given to a fork.

    That is the interpreter and installed packages, ephemera's own source, the user with all groups and rights,
    namespaces, limits, and the variables that are read at start.
    """
    found = [
        f"{sys.executable} {sys.version} {sys.flags} {sys.warnoptions} {sys.prefix} {os.nice(0)}",
        *(line for line in _of_this_process("status") if line.startswith(_STATUS)),
        *_of_this_process("limits"),
        *sorted(str(namespace.readlink()) for namespace in Path("/proc/self/ns").iterdir()),
        *(f"{name}={value}" for name, value in sorted(_variables(*_READ_AT_START).items())),
        *(f"{path} {stamp(path)}" for path in sys.path if path.endswith("-packages")),
        Files().stamps([str(_SOURCE)]),  # which may be a checkout at work
    ]
    return hashlib.sha256(os.fsencode("\n".join(found))).hexdigest()[:32]


def umask() -> int:
    """Return this process's umask, without setting it for a moment: other threads may be making files."""
    line = next(line for line in _of_this_process("status") if line.startswith("Umask:"))
    return int(line.split()[1], 8)


def environment() -> dict[str, str]:
    """Return the variables that the warm process is started with: all else comes with each request."""
    given = surroundings.variables()
    return {**_variables(*_READ_AT_START), **{name: given[name] for name in _PLACES if name in given}}


def folder() -> Path:
    """Return the folder of sockets, lock and log; mode 0700."""
    return own_cache_dir("warm")


def socket_file(fingerprint: str) -> Path:
    """Return the socket of the warm process of that fingerprint."""
    return folder() / f"{fingerprint}.socket"


def connected(fingerprint: str) -> socket.socket | None:
    """Return a connection to the warm process of that fingerprint, with a packet for each message; None without one."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        with short_path(socket_file(fingerprint)) as path:
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


def _variables(*prefixes: str) -> dict[str, str]:
    return {name: value for name, value in surroundings.variables().items() if name.startswith(prefixes)}


def _of_this_process(file: str) -> list[str]:
    return Path(f"/proc/self/{file}").read_text().splitlines()
