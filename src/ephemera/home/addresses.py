"""The per-user allocator of addresses: one number per environment gives its subnet and its loopback address.

Number *n* is the *n*-th /28 of the subnet pool and ``127.83.<1 + n // 250>.<1 + n % 250>``. A stack's live network wins
over what is written here, so a lost file is made good. Ports that had to be picked are kept too, so that they stay.
An entry that cannot be read is left out, and so is only its own stack's; the file as it was is kept beside it.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from ephemera.home import documents
from ephemera.home.locks import locked
from ephemera.home.paths import state_dir
from ephemera.model.errors import InputError, MachineError

_SCHEMA = 2
_PREFIX = 28
_BLOCK = 2 ** (32 - _PREFIX)
_ROW = 250
_MOST = 2 ** (_PREFIX - 16)


@dataclass(frozen=True, kw_only=True)
class Allocation:
    """``subnet``: IPv4 network of the environment; ``address``: its loopback address; ``ports``: host ports by
    ``service.endpoint``, with ``/udp`` behind it for those of UDP."""

    number: int
    subnet: str
    address: str
    ports: Mapping[str, int] = field(default_factory=dict)


def allocate(
    stack: str, *, pool: str, occupied: Iterable[str] = (), live_subnet: str | None = None, record: bool = True
) -> Allocation:
    """The stack's allocation, made when it has none.

    ``occupied``: subnets of all other networks of the engine. ``live_subnet``: the stack's own network's, when it is
    there. ``record``: keep it (a preview does not). Raises :class:`MachineError` when the pool is used up.
    """
    network = _network(pool)
    others = [ipaddress.ip_network(subnet, strict=False) for subnet in occupied]
    with _table() as table:
        known = table.get(stack)
        if live_subnet and (known is None or known.subnet != live_subnet):
            known = _from_live(live_subnet, network) or known
        if known is None:
            taken = {allocation.number for name, allocation in table.items() if name != stack}
            known = _first_free(stack, network, taken, others)
        if record:
            table[stack] = known
        return known


def pick_port(
    stack: str,
    endpoint: str,
    choose: Callable[[Mapping[str, Allocation]], int],
    *,
    usable: Callable[[int], bool] = lambda _: True,
    record: bool = True,
) -> int:
    """The port kept for ``endpoint`` (``service.endpoint``, with ``/udp`` behind it for one of UDP) of a stack.

    ``choose`` is asked the first time, and when the kept one is not ``usable`` any more, with what all stacks have;
    nobody else chooses meanwhile. ``record``: keep it (a preview does not).
    """
    with _table() as table:
        allocation = table.get(stack)
        kept = allocation.ports.get(endpoint) if allocation else None
        if kept is not None and usable(kept):
            return kept
        chosen = choose(table)
        if record:
            known = table[stack]
            table[stack] = replace(known, ports={**known.ports, endpoint: chosen})
        return chosen


def lookup(stack: str) -> Allocation | None:
    """The stack's allocation, if it has one."""
    with _table() as table:
        return table.get(stack)


def release(stack: str) -> None:
    """Give the stack's number back."""
    with _table() as table:
        table.pop(stack, None)


def _network(pool: str) -> ipaddress.IPv4Network:
    try:
        network = ipaddress.IPv4Network(pool)
    except ValueError as error:
        raise InputError(f"subnet pool {pool!r} is no IPv4 network", remedy=str(error)) from error
    if not 16 <= network.prefixlen <= 24:
        raise InputError(f"subnet pool {pool!r} has prefix length {network.prefixlen}", remedy="16 to 24 are accepted")
    return network


def _first_free(
    stack: str,
    network: ipaddress.IPv4Network,
    taken: set[int],
    others: list[ipaddress.IPv4Network | ipaddress.IPv6Network],
) -> Allocation:
    count = network.num_addresses // _BLOCK
    # Start at a place of the stack's own, so that an environment made again tends to get its old address.
    start = int.from_bytes(hashlib.sha256(stack.encode()).digest()[:4], "big") % count
    for step in range(count):
        number = (start + step) % count
        # Not network.subnets(): cutting a /16 into all of its blocks takes longer than the rest of an allocation.
        block = ipaddress.IPv4Network((int(network.network_address) + number * _BLOCK, _PREFIX))
        if number not in taken and not any(_overlap(block, other) for other in others):
            return _allocation(number, block)
    raise MachineError(
        f"all {count} subnets of {network} are in use",
        remedy="end environments (`ephemera ls`), or set ephemera:subnet_pool",
    )


def _overlap(block: ipaddress.IPv4Network, other: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    return isinstance(other, ipaddress.IPv4Network) and block.overlaps(other)


def _from_live(subnet: str, network: ipaddress.IPv4Network) -> Allocation | None:
    block = ipaddress.IPv4Network(subnet)
    if block.prefixlen != _PREFIX or not block.subnet_of(network):
        return None
    return _allocation((int(block.network_address) - int(network.network_address)) // _BLOCK, block)


def _allocation(number: int, block: ipaddress.IPv4Network) -> Allocation:
    return Allocation(number=number, subnet=str(block), address=f"127.83.{1 + number // _ROW}.{1 + number % _ROW}")


@contextmanager
def _table() -> Iterator[dict[str, Allocation]]:
    path = state_dir() / "addresses.json"
    with locked(path.with_suffix(".lock")):
        table, damaged = documents.read(path, _parsed) or ({}, "")
        before = dict(table)
        if damaged:
            documents.set_aside(path, damaged)
            before = {}
        yield table
        if table != before:
            documents.write(path, {stack: asdict(allocation) for stack, allocation in table.items()}, schema=_SCHEMA)


def _parsed(document: dict[str, Any]) -> tuple[dict[str, Allocation], str]:
    """Return the entries that can be read, and why others cannot."""
    known = {each.name for each in fields(Allocation)}
    table: dict[str, Allocation] = {}
    damaged = []
    for stack, values in document.items():
        if stack == documents.SCHEMA:
            continue
        try:
            table[stack] = _checked(Allocation(**{key: value for key, value in values.items() if key in known}))
        except (ValueError, TypeError, AttributeError) as error:
            damaged.append(f"the entry of {stack}: {error}")
    return table, "; ".join(damaged)


def _checked(allocation: Allocation) -> Allocation:
    if not isinstance(allocation.subnet, str) or not isinstance(allocation.address, str):
        raise TypeError("no address")
    same = _allocation(allocation.number, ipaddress.IPv4Network(allocation.subnet))
    fine = type(allocation.number) is int and 0 <= allocation.number < _MOST and same.subnet.endswith(f"/{_PREFIX}")
    if not fine or allocation.address != same.address:
        raise ValueError("no allocation")
    if not all(type(port) is int and 0 < port < 65536 for port in allocation.ports.values()):
        raise ValueError("no port")
    return allocation
