"""Ports of this machine: which are listened on, by whom, and which are free."""

from __future__ import annotations

import socket

import psutil

WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 - compared with, never bound


def holder(address: str, port: int) -> str | None:
    """Who listens on ``address:port`` or on that port of all addresses: name and pid, or None when nobody does."""
    for connection in psutil.net_connections(kind="tcp"):
        if connection.status != psutil.CONN_LISTEN or not connection.laddr or connection.laddr.port != port:
            continue
        if connection.laddr.ip in (address, *WILDCARDS):
            return _describe(connection.pid)
    return None


def is_free(address: str, port: int) -> bool:
    """Whether a listener could be bound there now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except PermissionError:
            return holder(address, port) is None  # not for us to bind; the engine, which is root, may
        except OSError:
            return False
    return True


def free_port(address: str) -> int:
    """A port that is free on ``address`` now, chosen by the kernel."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((address, 0))
        port: int = probe.getsockname()[1]
    return port


def _describe(pid: int | None) -> str:
    if pid is None:
        return "a process of another user"
    try:
        process = psutil.Process(pid)
        return f"{process.name()} (pid {pid})"
    except psutil.Error:
        return f"pid {pid}"
