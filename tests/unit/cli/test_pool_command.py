from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from ephemera.home import leases
from ephemera.lifecycle import filling, pool
from ephemera.lifecycle.pool import Pool
from ephemera.pulumi.workspace import Workspace
from tests.unit.cli.conftest import Command
from tests.unit.doubles import SHOP, FakeClient, lease_of


@pytest.fixture
def project(tmp_path: Path, docker: FakeClient, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project; what would be started or made is written down in ``done``."""
    (tmp_path / "Pulumi.yaml").write_text("name: demo\nruntime: python\n")
    workspace = Workspace(tmp_path)
    workspace.__dict__["catalog"] = {"shop": SHOP}
    monkeypatch.setattr(Workspace, "find", staticmethod(lambda: workspace))
    return tmp_path


@pytest.fixture
def done(project: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    done: list[str] = []

    def empty(wanted: Pool) -> list[str]:
        done.append(f"empty {wanted.name}")
        return []

    def fill(name: str, _report: Any) -> str:
        done.append(f"fill {name}")
        return ""

    monkeypatch.setattr(pool, "start", lambda wanted: done.append(f"start {wanted.name}"))
    monkeypatch.setattr(filling, "empty", empty)
    monkeypatch.setattr(filling, "fill", fill)
    return done


def test_size_is_set_and_filled_in_the_background(ephemera: Command, project: Path, done: list[str]) -> None:
    said = ephemera("pool", "--system", "shop", "--size", "2", "--config", "expose=none", "--output", "json")
    assert said.exit_code == 0
    (wanted,) = pool.pools()
    assert (wanted.size, wanted.config, wanted.checkout) == (2, {"expose": "none"}, str(project))
    assert done == [f"start {wanted.name}"]
    assert said.document == [
        {"system": "shop", "checkout": str(project), "size": 2, "ready": [], "coming_up": [], "problem": ""}
    ]


def test_waiting_fills_it_here(ephemera: Command, done: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert ephemera("pool", "--system", "shop", "--size", "1", "--wait").exit_code == 0
    assert [line.split()[0] for line in done] == ["fill"]
    monkeypatch.setattr(filling, "fill", lambda *_: "service 'db' exited")
    said = ephemera("pool", "--system", "shop", "--size", "1", "--wait")
    assert said.exit_code == 3
    assert "service 'db' exited" in said.err


def test_size_0_empties_it(ephemera: Command, done: list[str]) -> None:
    ephemera("pool", "--system", "shop", "--size", "1")
    done.clear()
    assert ephemera("pool", "--system", "shop", "--size", "0").exit_code == 0
    assert [line.split()[0] for line in done] == ["empty"]
    assert pool.pools() == []
    assert ephemera("pool").err.strip() == "there is no pool"


def test_pools_are_shown_with_what_is_ready_and_what_is_wrong(
    ephemera: Command, project: Path, done: list[str]
) -> None:
    ephemera("pool", "--system", "shop", "--size", "2")
    later = time.time() + 100
    known: dict[str, Any] = {"branch": "pool", "checkout": str(project), "expires_at": later}
    leases.write(lease_of("shop--aaaaaa", phase="pooled", **known))
    (wanted,) = pool.pools()
    pool.note(wanted, "no image")
    (shown,) = ephemera("pool", "--output", "json").document
    assert (shown["ready"], shown["coming_up"], shown["problem"]) == (["shop--aaaaaa"], [], "no image")
    table = ephemera("pool", "--system", "shop").out
    assert "1 of 2" in table
    assert "no image" in table
    leases.write(lease_of("shop--bbbbbb", phase="pooled", **known))
    (shown,) = ephemera("pool", "--output", "json").document
    assert shown["problem"] == "", "it is full"
    assert ephemera("pool", "--system", "other").err.strip() == "there is no pool"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--size", "1"), "system is not named"),
        (("--wait",), "no size"),
        (("--config", "a=b"), "no size"),
        (("--system", "shp", "--size", "1"), "unknown system 'shp'"),
        (("--system", "shop", "--size", "1", "--config", "nope=1"), "unknown config key"),
    ],
)
def test_bad_input_makes_no_pool(ephemera: Command, done: list[str], arguments: tuple[str, ...], message: str) -> None:
    said = ephemera("pool", *arguments)
    assert said.exit_code == 2
    assert message in said.err
    assert pool.pools() == []
    assert done == []
