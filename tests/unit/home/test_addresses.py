from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from contextlib import ExitStack

import pytest

from ephemera.home import addresses
from ephemera.home.addresses import Allocation, allocate, lookup, pick_port, release
from ephemera.home.paths import state_dir
from ephemera.model.errors import InputError, MachineError
from ephemera.model.progress import Event
from tests.unit.processes import heard, python, tell

_POOL = "10.213.0.0/16"
_SMALL = "10.9.0.0/24"

_ALLOCATOR = """
import sys
from ephemera.home.addresses import allocate
print("there", flush=True)
sys.stdin.readline()
allocation = allocate(sys.argv[1], pool=sys.argv[2])
print(allocation.number, allocation.subnet, allocation.address, flush=True)
"""


def test_stack_keeps_its_allocation() -> None:
    first = allocate("shop-main", pool=_POOL)
    assert allocate("shop-main", pool=_POOL) == first == lookup("shop-main")


def test_allocation_is_a_28_of_the_pool_and_a_loopback_address() -> None:
    allocation = allocate("shop-main", pool=_POOL)
    subnet = ipaddress.IPv4Network(allocation.subnet)
    assert subnet.prefixlen == 28
    assert subnet.subnet_of(ipaddress.IPv4Network(_POOL))
    assert ipaddress.IPv4Address(allocation.address) in ipaddress.IPv4Network("127.83.0.0/16")


def test_stack_made_again_gets_its_old_address() -> None:
    first = allocate("shop-main", pool=_POOL)
    release("shop-main")
    assert lookup("shop-main") is None
    assert allocate("shop-main", pool=_POOL) == first


def test_full_pool_gives_every_stack_its_own_and_then_refuses() -> None:
    found = [allocate(f"shop-{number}", pool=_SMALL) for number in range(16)]
    assert len({allocation.number for allocation in found}) == 16
    assert len({allocation.subnet for allocation in found}) == 16
    assert len({allocation.address for allocation in found}) == 16
    with pytest.raises(MachineError, match=r"all 16 subnets of 10\.9\.0\.0/24 are in use"):
        allocate("shop-one-more", pool=_SMALL)
    release("shop-7")
    assert allocate("shop-one-more", pool=_SMALL).number == found[7].number


def test_every_number_has_an_address_of_its_own_that_is_no_network_or_broadcast() -> None:
    blocks = ipaddress.IPv4Network(_POOL).subnets(new_prefix=28)
    found = [addresses._allocation(number, block).address for number, block in enumerate(blocks)]
    assert len(set(found)) == 4096
    assert all(1 <= int(address.rpartition(".")[2]) <= 254 for address in found)


def test_subnets_of_other_networks_are_avoided() -> None:
    blocks = [str(block) for block in ipaddress.IPv4Network(_SMALL).subnets(new_prefix=28)]
    occupied = [*blocks[:5], "10.9.0.80/29", "10.9.0.96/27", "10.9.0.144/28", "fd00::/64", "172.17.0.0/16"]
    found = {allocate(f"shop-{number}", pool=_SMALL, occupied=occupied).subnet for number in range(7)}
    assert found == {blocks[8], *blocks[10:]}
    with pytest.raises(MachineError):
        allocate("shop-one-more", pool=_SMALL, occupied=occupied)


def test_live_network_wins_over_what_is_written() -> None:
    written = allocate("shop-main", pool=_POOL)
    live = "10.213.7.16/28"
    assert written.subnet != live
    found = allocate("shop-main", pool=_POOL, live_subnet=live)
    assert found.subnet == live
    assert found.number == 7 * 16 + 1
    assert allocate("shop-main", pool=_POOL) == found, "and is written down"


def test_lost_file_is_made_good_by_the_live_network() -> None:
    first = allocate("shop-main", pool=_POOL)
    (state_dir() / "addresses.json").unlink()
    assert allocate("shop-main", pool=_POOL, occupied=[], live_subnet=first.subnet) == first


def test_live_network_that_agrees_keeps_the_picked_ports() -> None:
    allocation = allocate("shop-main", pool=_POOL)
    pick_port("shop-main", "db.postgres", lambda _: 4711)
    found = allocate("shop-main", pool=_POOL, live_subnet=allocation.subnet)
    assert found.ports == {"db.postgres": 4711}


def test_live_network_outside_the_pool_leaves_what_is_written() -> None:
    written = allocate("shop-main", pool=_POOL)
    assert allocate("shop-main", pool=_POOL, live_subnet="172.30.0.0/16") == written


def test_preview_tells_but_does_not_record() -> None:
    seen = allocate("shop-main", pool=_POOL, record=False)
    assert lookup("shop-main") is None
    assert allocate("shop-main", pool=_POOL) == seen


def test_picked_port_stays() -> None:
    allocate("shop-main", pool=_POOL)
    assert pick_port("shop-main", "db.postgres", lambda _: 4711) == 4711
    assert pick_port("shop-main", "db.postgres", lambda _: pytest.fail("asked again")) == 4711
    assert pick_port("shop-main", "api.http", lambda _: 4712) == 4712
    assert lookup("shop-main") == Allocation(
        **{**vars(allocate("shop-main", pool=_POOL)), "ports": {"db.postgres": 4711, "api.http": 4712}}
    )


def test_kept_port_that_cannot_be_had_any_more_is_chosen_anew() -> None:
    allocate("shop-main", pool=_POOL)
    pick_port("shop-main", "db.postgres", lambda _: 4711)
    assert pick_port("shop-main", "db.postgres", lambda _: 4712, usable=lambda port: port != 4711) == 4712
    assert pick_port("shop-main", "db.postgres", lambda _: pytest.fail("asked again")) == 4712


def test_port_is_chosen_with_a_view_of_what_all_have() -> None:
    for stack, port in (("shop-a", 1), ("shop-b", 2)):
        allocate(stack, pool=_POOL)
        pick_port(stack, "db.postgres", lambda _: port)  # noqa: B023 - called at once
    seen: list[int] = []

    def choose(table: Mapping[str, Allocation]) -> int:
        seen.extend(port for known in table.values() for port in known.ports.values())
        return 3

    assert pick_port("shop-a", "api.http", choose, record=False) == 3
    assert sorted(seen) == [1, 2]
    found = lookup("shop-a")
    assert found is not None
    assert found.ports == {"db.postgres": 1}, "a preview keeps nothing"


@pytest.mark.parametrize(
    ("pool", "message"),
    [
        ("10.0.0.0/8", "prefix length 8: 16 to 24"),
        ("10.0.0.0/28", "prefix length 28"),
        ("10.0.0.1/16", "no IPv4 network"),
        ("fd00::/64", "no IPv4 network"),
        ("everything", "no IPv4 network"),
    ],
)
def test_pool_that_cannot_be_cut_is_refused(pool: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        allocate("shop-main", pool=pool)


@pytest.mark.parametrize("text", ["{", "[]", "null", '{"shop-main": 3}', '{"shop-main": {"number": 1}}', "\x00", ""])
def test_file_that_cannot_be_read_is_set_aside_and_made_good(text: str, events: list[Event]) -> None:
    path = state_dir() / "addresses.json"
    path.write_text(text)
    made = allocate("shop-main", pool=_POOL)
    assert lookup("shop-main") == made
    (aside,) = state_dir().glob("addresses.json.unreadable-*")
    assert aside.read_text() == text
    (told,) = events
    assert f"kept as {aside.name}" in told["message"]


def test_entry_that_cannot_be_read_costs_its_own_stack_alone(events: list[Event]) -> None:
    other = allocate("shop-a", pool=_POOL)
    pick_port("shop-a", "db.postgres", lambda _: 40001)
    path = state_dir() / "addresses.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "shop-b": {"number": "four"}}))
    made = allocate("shop-b", pool=_POOL, live_subnet="10.213.0.64/28")
    assert made.number == 4
    kept = lookup("shop-a")
    assert kept is not None
    assert (kept.subnet, kept.ports) == (other.subnet, {"db.postgres": 40001})
    assert len(events) == 1
    assert "the entry of shop-b" in events[0]["message"]


def test_what_a_later_version_adds_is_no_damage(events: list[Event]) -> None:
    made = allocate("shop-main", pool=_POOL)
    path = state_dir() / "addresses.json"
    document = json.loads(path.read_text())
    document["shop-main"]["colour"] = "blue"
    path.write_text(json.dumps({**document, "schema": 99}))
    assert lookup("shop-main") == made
    assert events == []


def test_failure_inside_leaves_the_file_as_it_was() -> None:
    allocate("shop-main", pool=_POOL)
    before = (state_dir() / "addresses.json").read_text()
    with pytest.raises(ZeroDivisionError):
        pick_port("shop-main", "db.postgres", lambda _: 1 // 0)
    assert (state_dir() / "addresses.json").read_text() == before
    assert json.loads(before)["shop-main"]["ports"] == {}


def test_ten_processes_at_once_get_ten_numbers() -> None:
    with ExitStack() as stack:
        processes = [stack.enter_context(python(_ALLOCATOR, f"shop-{number}", _SMALL)) for number in range(10)]
        assert [heard(process) for process in processes] == ["there"] * 10
        for process in processes:
            tell(process)
        found = [heard(process).split() for process in processes]
    for column in zip(*found, strict=True):
        assert len(set(column)) == 10
    for number, (_, subnet, _address) in enumerate(found):
        written = lookup(f"shop-{number}")
        assert written is not None
        assert written.subnet == subnet
