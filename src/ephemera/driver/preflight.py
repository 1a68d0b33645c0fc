"""What is checked before anything is created."""

from __future__ import annotations

from ephemera.contract.catalog import Manifest
from ephemera.contract.errors import InputError
from ephemera.contract.settings import Settings
from ephemera.host.configured import configured
from ephemera.host.development import refuse_unmountable
from ephemera.host.engine import connected
from ephemera.host.exposure import refuse_unreachable
from ephemera.host.fixed_ports import refuse_held


def check_development(system: Manifest, settings: Settings, phase: str) -> None:
    """Refuse development mode where sources cannot be mounted, and of what is not a branch's own environment: test runs
    and pools are of what images hold."""
    if not settings.development:
        return
    if phase != "kept":
        raise InputError(
            "development mode is of a branch's own environment, not of a test run's or a pool's",
            remedy="leave ephemera:development out; `ephemera dev` sets it where it belongs",
        )
    refuse_unmountable(settings, system, configured())


def check_ports(stack: str, system: Manifest, settings: Settings) -> None:
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
                refuse_held(client, stack, service, port, "udp" if endpoint.endswith("/udp") else "tcp")
