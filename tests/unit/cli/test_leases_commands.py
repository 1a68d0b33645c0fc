from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from ephemera.home import identity, leases
from ephemera.home.leases import DEFAULT_TTL_SECONDS, Lease
from ephemera.lifecycle import reaper
from ephemera.lifecycle.reaper import Reaped
from ephemera.pulumi.workspace import Workspace
from tests.unit.cli.conftest import Command
from tests.unit.doubles import IDENTITY, SHOP, FakeClient, marks


@pytest.fixture
def lease(tmp_path: Path, docker: FakeClient, monkeypatch: pytest.MonkeyPatch) -> Lease:
    """A project with one environment, which has expired."""
    (tmp_path / "Pulumi.yaml").write_text("name: demo\nruntime: python\n")
    workspace = Workspace(tmp_path)
    workspace.__dict__["catalog"] = {"shop": SHOP}
    monkeypatch.setattr(Workspace, "find", staticmethod(lambda: workspace))
    docker.api.add("container", "shop-main-db", marks("shop-main", identity.backend_id(), "db"))
    lease = replace(leases.first_seen("shop-main", "demo", str(tmp_path), IDENTITY), expires_at=time.time() - 1)
    leases.write(lease)
    return lease


def test_reap_says_what_it_reaped_and_why(ephemera: Command, lease: Lease, monkeypatch: pytest.MonkeyPatch) -> None:
    done = Reaped(stack="shop-main", reason="expired", seconds=1.25)
    monkeypatch.setattr(reaper, "reap", lambda: [done])
    said = ephemera("reap")
    assert (said.exit_code, said.err.strip()) == (0, "shop-main: expired; gone after 1.2 s")
    document = ephemera("reap", "--output", "json").document
    assert document == {
        "reaped": [{"stack": "shop-main", "reason": "expired", "seconds": 1.25, "problem": ""}],
        "dry_run": False,
    }


def test_reap_that_could_not_reap_all_exits_with_4(
    ephemera: Command, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        reaper, "reap", lambda: [Reaped(stack="shop-main", reason="expired", seconds=1.0, problem="it is locked")]
    )
    said = ephemera("reap")
    assert (said.exit_code, said.err.strip()) == (4, "shop-main: expired; it is locked")


def test_dry_run_only_looks(ephemera: Command, lease: Lease, docker: FakeClient) -> None:
    said = ephemera("reap", "--dry-run")
    assert (said.exit_code, said.err.strip()) == (0, "shop-main: expired; would be reaped")
    assert docker.api.removed == []
    leases.touch("shop-main")
    assert ephemera("reap", "--dry-run").err.strip() == "nothing to reap"


def test_extend_moves_the_expiry_and_never_back(ephemera: Command, lease: Lease) -> None:
    said = ephemera("extend", "shop-main", "--hours", "48")
    assert (said.exit_code, said.err.strip()) == (0, "shop-main expires in 48 h 0 min")
    document = ephemera("extend", "shop-main", "--output", "json").document
    assert document["stack"] == "shop-main"
    now = leases.read("shop-main")
    assert now is not None
    assert now.expires_at > time.time() + 3 * DEFAULT_TTL_SECONDS


def test_extend_of_what_is_not_there_or_for_ever_is_refused(ephemera: Command, lease: Lease) -> None:
    said = ephemera("extend", "shop-none")
    assert said.exit_code == 2
    assert "no environment 'shop-none' is running" in said.err
    assert leases.read("shop-none") is None
    assert ephemera("extend", "shop-main", "--hours", "-1").exit_code == 2
