"""Fixed ports: refused when somebody else holds them, before anything is created."""

from __future__ import annotations

from typing import Any

from docker import DockerClient

from ephemera.contract import labels
from ephemera.contract.errors import PortInUseError
from ephemera.host import ports

ADDRESS = "127.0.0.1"


def refuse_held(client: DockerClient, stack: str, service: str, port: int) -> None:
    """Raise :class:`PortInUseError`, naming the holder, when ``port`` is held by anybody but the stack itself."""
    if ports.is_free(ADDRESS, port):
        return
    publishing = [item for item in client.api.containers(filters={"publish": str(port)}) if _publishes(item, port)]
    if any(item["Labels"].get(labels.STACK) == stack for item in publishing):
        return
    holders = [f"container {item['Names'][0].lstrip('/')}" for item in publishing]
    holder = holders[0] if holders else ports.holder(ADDRESS, port) or "another process"
    raise PortInUseError(ADDRESS, port, holder, service)


def _publishes(item: dict[str, Any], port: int) -> bool:
    # The same number on another environment's loopback address is in nobody's way.
    mapped = [each for each in item["Ports"] if each.get("PublicPort") == port]
    return any(each.get("IP", ADDRESS) in (ADDRESS, *ports.WILDCARDS) for each in mapped)
