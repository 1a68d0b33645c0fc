"""What is checked before anything is created."""

from __future__ import annotations

from ephemera.contract import labels
from ephemera.contract.catalog import System
from ephemera.contract.errors import PortInUseError
from ephemera.contract.settings import Settings
from ephemera.host import ports
from ephemera.host.engine import connected


def check_fixed_ports(stack: str, system: System, settings: Settings) -> None:
    """With ``expose: fixed``, refuse a port that somebody other than this stack holds; names the holder."""
    if settings.expose != "fixed":
        return
    selected = system.selected(only=settings.only, profiles=settings.profiles)
    for endpoint, port in system.fixed_ports[settings.port_table].items():
        service = endpoint.partition(".")[0]
        if service not in selected or ports.is_free("127.0.0.1", port):
            continue
        holder = container_holding(port)
        if holder is None or holder[1] != stack:
            name = f"container {holder[0]}" if holder else ports.holder("127.0.0.1", port) or "another process"
            raise PortInUseError("127.0.0.1", port, name, service)


def container_holding(port: int) -> tuple[str, str] | None:
    """Name and stack of the container that publishes ``port``, if one does."""
    with connected() as client:
        for container in client.api.containers(filters={"publish": str(port)}):
            return container["Names"][0].lstrip("/"), container["Labels"].get(labels.STACK, "")
    return None
