"""Any branch name makes a valid and distinct stack; environments run side by side; ten in a row leave nothing."""

from __future__ import annotations

import httpx

from .conftest import Ephemera

_LONG = "feature/ÜBER lang/" + "ein.Zweig🚀/" * 18


def test_strange_branches_side_by_side(ephemera: Ephemera) -> None:
    assert len(_LONG) > 200
    own = ephemera.variables["EPHEMERA_BRANCH"]
    branches = [f"{_LONG}{own}a", f"{_LONG}{own}b", f"feature/{own}", f"feature-{own}"]
    stacks, addresses = set(), set()
    for branch in branches:
        done = ephemera("up", "web", "--branch", branch, "--output", "json")
        assert done.code == 0, done.err
        assert done.json["branch"] == branch
        assert len(done.json["stack"]) <= 63
        stacks.add(done.json["stack"])
        endpoint = done.json["services"]["web"]["endpoints"]["http"]
        addresses.add(endpoint["host"])
        assert endpoint["port"] == 8000
    assert len(stacks) == len(addresses) == len(branches)
    for address in addresses:
        assert httpx.get(f"http://{address}:8000/").status_code == 200
    for branch in branches:
        assert ephemera("down", "web", "--branch", branch).code == 0
    assert ephemera.left() == []


def test_ten_in_a_row_leave_nothing(ephemera: Ephemera) -> None:
    for number in range(10):
        assert ephemera("up", "web").code == 0, number
        down = ephemera("down", ephemera.stack("web"), "--output", "json")
        assert down.json["leftovers"] == []
        assert ephemera.left() == []
