"""What is checked before anything is created."""

from __future__ import annotations

from ephemera.contract.catalog import System
from ephemera.contract.settings import Settings
from ephemera.host.configured import configured
from ephemera.host.engine import connected
from ephemera.host.exposure import refuse_unreachable
from ephemera.host.fixed_ports import refuse_held


def check_ports(stack: str, system: System, settings: Settings) -> None:
    """Refuse ports that could not be reached from here and, with ``expose: fixed``, one that somebody other than this
    stack holds; names the holder."""
    refuse_unreachable(settings, configured())
    if settings.expose != "fixed":
        return
    selected = system.selected(only=settings.only, profiles=settings.profiles)
    with connected() as client:
        for endpoint, port in system.fixed_ports[settings.port_table].items():
            service = endpoint.partition(".")[0]
            if service in selected:
                refuse_held(client, stack, service, port)
