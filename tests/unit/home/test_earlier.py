"""State that earlier versions wrote, a folder for each schema of leases: every later version has to read it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ephemera import images
from ephemera.home import addresses, identity, leases
from ephemera.home.paths import state_dir
from ephemera.lifecycle import pool, reaper
from ephemera.model.progress import Event
from ephemera.observe import recording
from ephemera.pulumi import known, state
from ephemera.pulumi.workspace import Workspace

_EARLIER = Path(__file__).parent / "earlier"
_CHECKOUT = "/home/dev/shop"


@pytest.fixture(autouse=True)
def _as_it_was() -> None:
    shutil.copytree(_EARLIER / "1", state_dir(), dirs_exist_ok=True)


def test_leases_are_read(events: list[Event]) -> None:
    found = {lease.stack: lease for lease in leases.all_leases()}
    assert {stack: lease.phase for stack, lease in found.items()} == {
        "data-main": "kept",
        "web--mmhcz9": "pooled",
        "web-held-sgjcfi": "disposable",
        "web-main": "kept",
    }
    assert {lease.checkout for lease in found.values()} == {_CHECKOUT}
    assert events == [], "nothing is set aside"


def test_process_that_held_one_cannot_be_judged(events: list[Event]) -> None:
    held = leases.read("web-held-sgjcfi")
    assert held is not None
    assert held.holder is not None
    assert held.holder.fate() == "unknown"
    before_it_expires = held.expires_at - 1
    assert "web-held-sgjcfi" not in {lease.stack for lease, _ in reaper.due(before_it_expires)}
    assert ("web-held-sgjcfi", "expired") in [(lease.stack, why) for lease, why in reaper.due(held.expires_at + 1)]


def test_addresses_and_pools_and_machine_are_read(events: list[Event]) -> None:
    found = addresses.lookup("data-main")
    assert found is not None
    assert (found.number, found.address, found.ports) == (475, "127.83.2.226", {"postgres.postgres": 5432})
    assert [(each.system, each.size, each.checkout) for each in pool.pools()] == [("web", 1, _CHECKOUT)]
    assert images.mode() == "local"
    assert identity.backend_id() == (_EARLIER / "1" / "backend-id").read_text()
    assert events == []


def test_state_names_its_resources_and_no_engine() -> None:
    found = state.resources(Workspace(Path(_CHECKOUT), "shop"), "data-main")
    assert {state.CONTAINER, state.NETWORK, state.VOLUME, state.IMAGE} <= {each["type"] for each in found}
    assert state.engine(found) == ""


def test_what_is_remembered_is_read_or_forgotten_without_an_error(events: list[Event]) -> None:
    assert recording.read("data-main")
    assert known.outputs(Workspace(Path(_CHECKOUT), "shop"), "data-main") is None, (
        "what is known is told otherwise by now"
    )
    assert events == []


def test_change_by_this_version_leaves_a_lease_that_it_reads_again() -> None:
    assert leases.change("web-main", seeded=True) is not None
    again = leases.read("web-main")
    assert again is not None
    assert (again.seeded, again.branch, again.phase) == (True, "main", "kept")
