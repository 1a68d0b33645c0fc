from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

from ephemera.contract.errors import MachineError
from ephemera.home import leases
from ephemera.home.leases import DEFAULT_TTL_SECONDS, Lease
from ephemera.home.paths import state_dir
from ephemera.host.processes import ProcessId
from tests.unit.doubles import IDENTITY
from tests.unit.processes import python


def _lease(stack: str = "shop-main", **fields: object) -> Lease:
    lease = Lease(
        stack=stack,
        project="ephemera",
        system="shop",
        branch="main",
        owner="me@here",
        checkout="/src",
        run="r1",
        phase="creating",
        holder=ProcessId.of(),
        created_at=1.0,
        used_at=2.0,
        expires_at=3.0,
    )
    return replace(lease, **fields)  # type: ignore[arg-type]


def _files() -> list[str]:
    return sorted(str(path.relative_to(state_dir())) for path in state_dir().rglob("*") if path.is_file())


def test_lease_is_read_as_it_was_written() -> None:
    lease = _lease(
        engine=ProcessId(pid=7, started=1.5),
        suite=ProcessId(pid=9, started=3.5),
        guardian=ProcessId(pid=8, started=2.5),
    )
    leases.write(lease)
    assert leases.read("shop-main") == lease


def test_stack_without_a_lease_has_none_and_asking_leaves_nothing() -> None:
    assert leases.read("shop-main") is None
    assert leases.change("shop-main", phase="kept") is None
    leases.touch("shop-main")
    assert _files() == []
    leases.remove("shop-main")
    assert _files() == []


def test_change_keeps_all_other_fields() -> None:
    leases.write(_lease())
    assert leases.change("shop-main", phase="kept", holder=None) == _lease(phase="kept", holder=None)
    assert leases.read("shop-main") == _lease(phase="kept", holder=None)


def test_lease_is_held_while_its_holder_lives() -> None:
    assert _lease().held()
    assert not _lease(holder=None).held()
    with python("input()") as process:
        holder = ProcessId.of(process.pid)
        assert _lease(holder=holder).held()
        process.kill()
        process.wait()
        assert not _lease(holder=holder).held()


def test_expiry_moves_with_use() -> None:
    leases.write(_lease())
    before = time.time()
    leases.touch("shop-main", ttl_seconds=60)
    lease = leases.read("shop-main")
    assert lease is not None
    assert before <= lease.used_at <= time.time()
    assert lease.expires_at == pytest.approx(lease.used_at + 60)
    assert lease.created_at == 1.0


def test_stack_made_by_hand_gets_a_lease_when_first_seen() -> None:
    lease = leases.first_seen("shop-main", "ephemera", "/src", IDENTITY)
    assert leases.read("shop-main") == lease
    assert (lease.phase, lease.holder, lease.system, lease.owner) == ("kept", None, "shop", "me@here")
    assert lease.expires_at - lease.created_at == DEFAULT_TTL_SECONDS


def test_removed_lease_leaves_no_file() -> None:
    leases.write(_lease())
    leases.change("shop-main", phase="kept")
    leases.remove("shop-main")
    assert leases.read("shop-main") is None
    assert _files() == []


def test_all_leases_by_stack() -> None:
    for stack in ("shop-b", "shop-a", "shop-a-b"):
        leases.write(_lease(stack))
    leases.remove("shop-a")
    assert [lease.stack for lease in leases.all_leases()] == ["shop-a-b", "shop-b"]


@pytest.mark.parametrize("text", ["", "{", "{}", "[]", '{"holder": {"pid": 1}, "engine": null, "guardian": null}'])
def test_lease_that_cannot_be_read_is_one_clear_error(text: str) -> None:
    path = state_dir() / "leases" / "shop-main.json"
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(MachineError, match=r"shop-main\.json cannot be read: remove it"):
        leases.read("shop-main")


def test_one_command_at_a_time_has_a_stack() -> None:
    inside, asked = threading.Event(), threading.Event()

    def second() -> None:
        asked.set()
        with leases.exclusive("shop-main"):
            inside.set()

    thread = threading.Thread(target=second)
    with leases.exclusive("shop-main"):
        thread.start()
        assert asked.wait(5)
        with leases.exclusive("shop-main-2"):  # another stack is free
            pass
        assert not inside.wait(0.1)
    assert inside.wait(5)
    thread.join(5)


def test_lock_of_a_stack_that_is_gone_is_gone_too() -> None:
    with leases.exclusive("shop-main"):
        leases.write(_lease())
    assert "operations/shop-main.lock" in _files()
    with leases.exclusive("shop-main"):
        leases.remove("shop-main")
    assert _files() == []
