"""Fixed ports: refused when somebody else holds them, before anything is created."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from docker import DockerClient

from ephemera.docker import ports
from ephemera.model import labels
from ephemera.model.errors import PortInUseError

ADDRESS = "127.0.0.1"


def port_of(table: Mapping[str, int], endpoint: str, protocol: ports.Protocol) -> int | None:
    """The port that ``table`` has for ``service.endpoint``; for one of UDP it may be listed with ``/udp`` behind it."""
    return table.get(f"{endpoint}/udp", table.get(endpoint)) if protocol == "udp" else table.get(endpoint)


def refuse_held(client: DockerClient, stack: str, service: str, port: int, protocol: ports.Protocol = "tcp") -> None:
    """Raise :class:`PortInUseError`, naming the holder, when ``port`` is held by anybody but the stack itself."""
    if ports.is_free(ADDRESS, port, protocol):
        return
    listed = client.api.containers(filters={"publish": f"{port}/{protocol}"})
    publishing = [item for item in listed if _publishes(item, port, protocol)]
    if any(item["Labels"].get(labels.STACK) == stack for item in publishing):
        return
    holders = [f"container {item['Names'][0].lstrip('/')}" for item in publishing]
    holder = holders[0] if holders else ports.holder(ADDRESS, port, protocol) or "another process"
    raise PortInUseError(ADDRESS, port, holder, service)


def _publishes(item: dict[str, Any], port: int, protocol: ports.Protocol) -> bool:
    # The same number on another environment's loopback address is in nobody's way.
    mapped = [each for each in item["Ports"] if each.get("PublicPort") == port and each.get("Type", "tcp") == protocol]
    return any(each.get("IP", ADDRESS) in (ADDRESS, *ports.WILDCARDS) for each in mapped)
