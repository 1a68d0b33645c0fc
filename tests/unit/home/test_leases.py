from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from typing import Any

import pytest

from ephemera.home import leases
from ephemera.home.leases import DEFAULT_TTL_SECONDS, Lease
from ephemera.home.paths import state_dir
from ephemera.host.processes import ProcessId
from ephemera.model.errors import InputError
from ephemera.model.progress import Event
from tests.unit.doubles import IDENTITY, lease_of
from tests.unit.processes import python


def _lease(stack: str = "shop-main", **fields: Any) -> Lease:
    return lease_of(stack, **{"holder": ProcessId.of(), **fields})


def _files() -> list[str]:
    return sorted(str(path.relative_to(state_dir())) for path in state_dir().rglob("*") if path.is_file())


def test_lease_is_read_as_it_was_written() -> None:
    lease = _lease(
        engine=ProcessId.of_started(2**22 - 7),
        suite=ProcessId.of_started(2**22 - 9),
        guardian=ProcessId.of_started(2**22 - 8),
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


@pytest.mark.parametrize(
    "text", ["", "{", "{}", "[]", "null", '{"holder": {"pid": 1}, "engine": null, "guardian": null}', "other", "\x00"]
)
def test_lease_that_cannot_be_read_is_set_aside_and_costs_its_own_stack_alone(text: str, events: list[Event]) -> None:
    leases.write(_lease("shop-other"))
    path = state_dir() / "leases" / "shop-main.json"
    # A lease that says it is another stack's is none of either: a sweep would take down the other.
    path.write_text((path.parent / "shop-other.json").read_text() if text == "other" else text)
    assert [lease.stack for lease in leases.all_leases()] == ["shop-other"]
    assert leases.read("shop-main") is None
    (aside,) = path.parent.glob("shop-main.json.unreadable-*")
    assert aside.is_file()
    assert [event["message"].endswith(f"kept as {aside.name}") for event in events] == [True], "told once"


def test_fields_of_a_later_version_are_kept_through_a_change() -> None:
    leases.write(_lease())
    path = state_dir() / "leases" / "shop-main.json"
    document = json.loads(path.read_text())
    document["holder"]["cgroup"] = "/user"
    path.write_text(json.dumps({**document, "schema": 99, "colour": ["blue"]}))
    leases.change("shop-main", phase="kept")
    assert _read().phase == "kept"
    assert _read().holder == ProcessId.of()
    assert json.loads(path.read_text())["colour"] == ["blue"]


def test_holder_that_cannot_be_seen_from_here_is_not_taken_for_dead() -> None:
    elsewhere = replace(ProcessId.of(), namespace="pid:[1]", host="devcontainer/")
    lease = _lease(holder=elsewhere, phase="disposable")
    assert lease.held()
    assert not lease.orphaned()
    assert not lease.in_use(), "it ends by expiry"


def test_users_that_cannot_be_seen_from_here_stay_users() -> None:
    elsewhere = replace(ProcessId.of(), namespace="pid:[1]", host="devcontainer/")
    leases.write(_lease(users=(elsewhere,)))
    with leases.using("shop-main"):
        assert _read().users == (elsewhere, ProcessId.of())
    assert _read().users == (elsewhere,)


def test_lease_of_before_processes_were_told_by_ticks_ends_by_expiry() -> None:
    leases.write(_lease())
    path = state_dir() / "leases" / "shop-main.json"
    document = json.loads(path.read_text())
    document["holder"] = {"pid": 2**22 - 1, "started": 1796045887.89}
    path.write_text(json.dumps(document))
    assert not _read().orphaned()
    assert not _read().in_use()


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


def test_use_is_written_down_while_it_lasts_once_for_each_and_expiry_moves_on() -> None:
    dead = ProcessId.of_started(2**22 - 1)
    leases.write(_lease(holder=None, users=(dead,), phase="kept"))
    me = ProcessId.of()
    with leases.using("shop-main"):
        with leases.using("shop-main"):
            assert _read().users == (me, me), "and those who died without a word are forgotten"
        assert _read().users == (me,)
        assert _read().in_use()
    assert _read().users == ()
    assert not _read().in_use()
    assert _read().expires_at > time.time() + DEFAULT_TTL_SECONDS - 60


def test_use_of_a_stack_without_a_lease_leaves_nothing() -> None:
    with leases.using("shop-main"):
        pass
    assert _files() == []


def test_use_survives_that_the_stack_is_taken_down() -> None:
    leases.write(_lease(phase="kept"))
    with leases.using("shop-main"):
        leases.remove("shop-main")
    assert _files() == []


def test_nobody_begins_to_use_what_is_being_taken_down() -> None:
    leases.write(_lease(phase="destroying"))
    with pytest.raises(InputError, match="'shop-main' is being taken down"), leases.using("shop-main"):
        pass


@pytest.mark.parametrize("role", ["holder", "suite", "users", None])
def test_an_environment_is_in_use_while_any_of_those_lives(role: str | None) -> None:
    me, dead = ProcessId.of(), ProcessId.of_started(2**22 - 1)
    roles: dict[str, Any] = {"holder": dead, "suite": dead, "users": (dead,)}
    if role is not None:
        roles[role] = (dead, me) if role == "users" else me
    assert _lease(**roles).in_use() is (role is not None)


def test_an_environment_is_orphaned_when_neither_holder_nor_guardian_lives() -> None:
    me, dead = ProcessId.of(), ProcessId.of_started(2**22 - 1)
    assert _lease(holder=dead).orphaned()
    assert _lease(holder=dead, guardian=dead).orphaned()
    assert not _lease(holder=dead, guardian=me).orphaned()
    assert not _lease(holder=me, guardian=dead).orphaned()
    assert not _lease(holder=None).orphaned()


def test_lease_is_taken_only_when_it_allows_it_as_it_is_now() -> None:
    leases.write(_lease(phase="kept"))
    assert leases.take("shop-main", lambda lease: lease.expires_at > 3.0, phase="destroying") is None
    assert _read().phase == "kept"
    assert leases.take("shop-main", lambda lease: lease.expires_at == 3.0, phase="destroying") == _read()
    assert _read().phase == "destroying"
    assert leases.take("shop-gone", lambda _: True) is None


def test_touch_never_takes_time_away() -> None:
    leases.write(_lease(expires_at=time.time() + 10 * DEFAULT_TTL_SECONDS))
    before = _read().expires_at
    touched = leases.touch("shop-main")
    assert touched is not None
    assert touched.expires_at == before


def test_what_a_killed_writer_left_goes_with_the_lease() -> None:
    leases.write(_lease())
    (state_dir() / "leases" / "shop-main.json.0123abcd.partial").write_text("{")
    leases.remove("shop-main")
    assert _files() == []


def _read() -> Lease:
    lease = leases.read("shop-main")
    assert lease is not None
    return lease
