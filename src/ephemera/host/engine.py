"""The Docker engine that is configured: ``DOCKER_HOST``, else the current Docker context, else the local socket."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ephemera.contract.errors import MachineError

if TYPE_CHECKING:
    import docker

DEFAULT_HOST = "unix:///var/run/docker.sock"
_CONNECT_TIMEOUT_SECONDS = 5
_TIMEOUT_SECONDS = 60


def docker_host() -> str:
    """The engine's address as a URL."""
    if configured := os.environ.get("DOCKER_HOST"):
        return configured
    return _context_host() or DEFAULT_HOST


def is_local(host: str | None = None) -> bool:
    """Whether the engine publishes ports on this machine."""
    return urlsplit(host or docker_host()).scheme in ("unix", "npipe")


def published_host(host: str | None = None) -> str:
    """Host name under which ports that a remote engine publishes are reached."""
    return urlsplit(host or docker_host()).hostname or "127.0.0.1"


def connect() -> docker.DockerClient:
    """A client of the engine; raises :class:`MachineError` when it does not answer within 5 s."""
    import docker
    from docker.errors import DockerException

    host = docker_host()
    try:
        client = docker.DockerClient(base_url=host, timeout=_CONNECT_TIMEOUT_SECONDS, version="auto", max_pool_size=32)
        client.api.timeout = _TIMEOUT_SECONDS
        return client
    except DockerException as error:
        raise MachineError(
            f"no Docker engine answers at {host}", remedy=f"start it, or set DOCKER_HOST ({_short(error)})"
        ) from error


@contextmanager
def connected() -> Iterator[docker.DockerClient]:
    """A client that is closed afterwards."""
    client = connect()
    try:
        yield client
    finally:
        client.close()


def _context_host() -> str | None:
    folder = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    name = os.environ.get("DOCKER_CONTEXT") or _json(folder / "config.json").get("currentContext", "")
    if name in ("", "default"):
        return None
    for meta in (folder / "contexts" / "meta").glob("*/meta.json"):
        document = _json(meta)
        if document.get("Name") == name:
            host = document.get("Endpoints", {}).get("docker", {}).get("Host")
            return host if isinstance(host, str) else None
    raise MachineError(
        f"Docker context {name!r} is not there", remedy="see `docker context ls`, or unset DOCKER_CONTEXT"
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text())
    except (OSError, json.JSONDecodeError):
        return {}
    return document if isinstance(document, dict) else {}


def _short(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
