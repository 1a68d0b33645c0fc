"""Host ports for an environment's endpoints: one each, known before anything is created, the same on every run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ephemera.contract import labels, progress
from ephemera.home import addresses
from ephemera.host import ports
from ephemera.host.ports import Protocol

_LOW_PORTS = 1024
_UDP = "/udp"


@dataclass(frozen=True, kw_only=True)
class Publisher:
    """Gives an environment's endpoints their ports.

    ``address``: of this machine, that they are bound to; None where they are bound on another one. ``own``: nothing
    else is bound to it, so that standard ports are free there. ``low_ports``: whether those below 1024 can be bound.
    ``live``: the stack's containers as the engine lists them, ``bind``: the address that it binds their ports to.
    ``record``: keep what is picked (a preview does not).
    """

    stack: str
    address: str | None
    own: bool
    low_ports: bool
    bind: str
    live: Iterable[Mapping[str, Any]]
    record: bool
    given: dict[str, int] = field(default_factory=dict)
    """Ports of this run, by ``service.endpoint``, with ``/udp`` behind it for those of UDP."""

    def port(self, service: str, endpoint: str, number: int, protocol: Protocol) -> int:
        """The host port for container port ``number`` of ``service``.

        The one that is kept, while it can be had. Else, so that a lost file is made good, the one that the container
        publishes already. Else the standard one, where there is an address of one's own and no other endpoint has it;
        else one that is picked.
        """
        key = f"{service}.{endpoint}{_UDP if protocol == 'udp' else ''}"
        live = self._published(service, number, protocol)
        given = {port for other, port in _of(protocol, self.given).items() if other != key}

        def usable(port: int) -> bool:
            return port not in given and (port in live or self._is_free(port, protocol))

        def choose(table: Mapping[str, addresses.Allocation]) -> int:
            return self._choose(key, number, protocol, live, table)

        port = addresses.pick_port(self.stack, key, choose, usable=usable, record=self.record)
        self.given[key] = port
        return port

    def _choose(
        self, key: str, number: int, protocol: Protocol, live: set[int], table: Mapping[str, addresses.Allocation]
    ) -> int:
        kept = table[self.stack].ports if self.stack in table else {}
        holders = {port: other for other, port in _of(protocol, {**kept, **self.given}).items() if other != key}
        # Where all stacks share an address, one must not get what another one's stopped containers will want again.
        others = [] if self.own else [known.ports for stack, known in table.items() if stack != self.stack]
        taken = {*holders, *(port for known in others for port in _of(protocol, known).values())}
        name = f"{self.stack}/{key}"
        live = live - taken
        if self.own and number in live:
            return number
        if live:
            return ports.picked_first(name, live)
        low = number < _LOW_PORTS and not self.low_ports
        if self.own and not low and number not in taken and self._is_free(number, protocol):
            return number
        picked = ports.pick(self.address or ports.LOOPBACK, name, taken, protocol)
        if self.own:
            holder = holders.get(number) or ports.holder(str(self.address), number, protocol) or "another process"
            why = "is only for root" if low else f"is held by {holder}"
            progress.emit({"type": "notice", "message": f"{key}: port {number} {why}, using {picked} instead"})
        return picked

    def _published(self, service: str, number: int, protocol: Protocol) -> set[int]:
        """Host ports that the service's container publishes that port on now."""
        wanted = (self.bind, number, protocol)
        return {
            port["PublicPort"]
            for item in self.live
            if item["Labels"].get(labels.SERVICE) == service
            for port in item["Ports"]
            if "PublicPort" in port and (port.get("IP"), port.get("PrivatePort"), port.get("Type")) == wanted
        }

    def _is_free(self, port: int, protocol: Protocol) -> bool:
        return self.address is None or ports.is_free(self.address, port, protocol)


def _of(protocol: Protocol, kept: Mapping[str, int]) -> dict[str, int]:
    """Those of that protocol: TCP and UDP do not get in each other's way."""
    return {key: port for key, port in kept.items() if key.endswith(_UDP) is (protocol == "udp")}
