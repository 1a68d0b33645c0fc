"""Ports of this machine: which are listened on, by whom, which are free, and which to take."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Collection, Iterator
from typing import Literal

import psutil

Protocol = Literal["tcp", "udp"]
LOOPBACK = "127.0.0.1"
WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 - compared with, never bound
_KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
# Ports that are picked: no service has one of these for its standard, and Linux gives none of them to a client.
_FIRST, _LAST = 61_001, 65_535


def holder(address: str, port: int, protocol: Protocol = "tcp") -> str | None:
    """Who listens on ``address:port`` or on that port of all addresses: name and pid, or None when nobody does."""
    for connection in psutil.net_connections(kind=protocol):
        if not connection.laddr or connection.laddr.port != port:
            continue
        # A socket that is only connected is no listener; UDP has no such state, but then the other end's address.
        listens = connection.status == psutil.CONN_LISTEN if protocol == "tcp" else not connection.raddr
        if listens and connection.laddr.ip in (address, *WILDCARDS):
            return _describe(connection.pid)
    return None


def is_free(address: str, port: int, protocol: Protocol = "tcp") -> bool:
    """Whether a listener could be bound there now."""
    with socket.socket(socket.AF_INET, _KINDS[protocol]) as probe:
        if protocol == "tcp":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except PermissionError:
            return holder(address, port, protocol) is None  # not for us to bind; the engine, which is root, may
        except OSError:
            return False
    return True


def free_port(address: str, protocol: Protocol = "tcp") -> int:
    """A port that is free on ``address`` now, chosen by the kernel."""
    with socket.socket(socket.AF_INET, _KINDS[protocol]) as probe:
        probe.bind((address, 0))
        port: int = probe.getsockname()[1]
    return port


def pick(address: str, name: str, taken: Collection[int], protocol: Protocol = "tcp") -> int:
    """A port that is free on ``address`` and not ``taken``: for the same ``name`` the same one, if it may be."""
    for port in _tried(name):
        if port not in taken and is_free(address, port, protocol):
            return port
    while (port := free_port(address, protocol)) in taken:
        pass
    return port


def picked_first(name: str, found: Collection[int]) -> int:
    """Which of the ports ``found`` (at least one) ``name`` comes upon first."""
    order = {port: position for position, port in enumerate(_tried(name))}
    return min(found, key=lambda port: (order.get(port, len(order)), port))


def _tried(name: str) -> Iterator[int]:
    count = _LAST - _FIRST + 1
    start = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    return (_FIRST + (start + step) % count for step in range(count))


def _describe(pid: int | None) -> str:
    if pid is None:
        return "a process of another user"
    try:
        process = psutil.Process(pid)
        return f"{process.name()} (pid {pid})"
    except psutil.Error:
        return f"pid {pid}"
