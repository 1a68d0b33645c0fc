"""How an environment's ports are published on the engine's machine, and under which name they are reached from here."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from ephemera.docker.address import Address
from ephemera.docker.ports import LOOPBACK, WILDCARDS
from ephemera.model.errors import InputError
from ephemera.model.settings import Expose, Settings

if TYPE_CHECKING:
    import docker


@dataclass(frozen=True, kw_only=True)
class Exposure:
    """``bind``: address of the engine's machine that ports are bound to, and ``host``: where they are reached from
    here; both mean nothing in mode ``loopback``, where the environment has an address of its own. ``forwarded``:
    whether they get here through SSH. ``low_ports``: whether ports below 1024 can be bound, over there and here."""

    mode: Literal["loopback", "dynamic", "fixed", "none"]
    bind: str = LOOPBACK
    host: str = LOOPBACK
    forwarded: bool = False
    low_ports: bool = True


def refuse_unreachable(settings: Settings, address: Address) -> None:
    """Raise :class:`InputError` for ports that could not be reached from here; asks nobody."""
    if settings.expose == "none":
        return
    if settings.publish_host:
        if settings.expose in ("loopback", "fixed"):
            raise InputError(
                f"ephemera:publish_host is {settings.publish_host!r}, and ephemera:expose {settings.expose!r}",
                remedy="an address to publish on goes with expose: dynamic",
            )
    elif address.reach == "network":
        raise InputError(
            f"ports that the Docker engine at {address.url} publishes on its own loopback cannot be reached from here",
            remedy="use DOCKER_HOST=ssh://…, which forwards them; or publish on a network that you trust, with "
            "EPHEMERA_PUBLISH_HOST=<address of that machine>; or EPHEMERA_EXPOSE=none",
        )


def exposure(settings: Settings, address: Address, client: docker.DockerClient) -> Exposure:
    """What the settings come to on this engine; raises :class:`InputError` like :func:`refuse_unreachable`."""
    refuse_unreachable(settings, address)
    if settings.publish_host and settings.expose != "none":
        reached = address.hostname or LOOPBACK
        host = reached if settings.publish_host in WILDCARDS else settings.publish_host
        return Exposure(mode="dynamic", bind=settings.publish_host, host=host)
    of_root = _engine_of_root(address, client)
    return Exposure(
        mode=_mode(settings.expose, of_root),
        forwarded=address.reach == "ssh",
        low_ports=of_root and (address.reach == "here" or os.geteuid() == 0),
    )


def _mode(expose: Expose, of_root: bool) -> Literal["loopback", "dynamic", "fixed", "none"]:
    if expose != "auto":
        return expose
    # An ordinary user's engine runs in a network of its own, where the same port of two addresses is one.
    return "loopback" if of_root else "dynamic"


def _engine_of_root(address: Address, client: docker.DockerClient) -> bool:
    """Whether root runs the engine; neither a rootless one nor a virtual machine's, such as Docker Desktop's."""
    url = urlsplit(address.url)
    if url.scheme == "unix":
        return _owner(Path(url.path)) == 0
    told = client.info()
    desktop = told.get("OperatingSystem") == "Docker Desktop"
    return not desktop and not any("name=rootless" in option for option in told.get("SecurityOptions") or ())


def _owner(socket: Path) -> int:
    return socket.stat().st_uid if socket.exists() else 0
