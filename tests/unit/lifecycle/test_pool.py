"""Pools without Docker: who gets an environment, which one is given to nobody, and when more are made."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ephemera.home import leases
from ephemera.home.paths import state_dir
from ephemera.host.processes import ProcessId
from ephemera.lifecycle import holding, pool, reaper
from ephemera.lifecycle.holding import let_go
from ephemera.lifecycle.pool import Pool
from ephemera.model.catalog import Manifest
from ephemera.model.names import is_pool_stack, pool_stack_name, stack_name
from ephemera.model.outputs import EnvironmentOutputs
from ephemera.model.settings import Settings
from ephemera.pulumi import known
from ephemera.pulumi.workspace import Workspace
from tests.unit.doubles import SHOP, lease_of

_SETTINGS = Settings(system="shop", branch="fix", owner="me@here")
_DEAD = ProcessId.of_started(2**22 - 1)


class Knowledge:
    """What is known of the pool's environments, and whether it is so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.unlike: dict[str, str] = {}
        self.same_request = True
        self.during: Callable[[str], Any] = lambda _stack: None
        monkeypatch.setattr(known, "read", lambda stack: SimpleNamespace(stack=stack))
        monkeypatch.setattr(known, "same_request", lambda *_: self.same_request)
        monkeypatch.setattr(known, "why_not", self._why_not)
        monkeypatch.setattr(known, "shown", lambda stack, _: _outputs(stack))
        monkeypatch.setattr(holding, "keep", lambda _, stack: leases.change(stack, guardian=_DEAD))

    def _why_not(self, _: Any, __: Workspace, stack: str, *___: Any, any_branch: bool) -> str:
        assert any_branch
        lease = leases.read(stack)
        assert lease is not None
        assert lease.holder == ProcessId.of(), "it is looked at by who has it, and by nobody else"
        self.during(stack)
        return self.unlike.get(stack, "")


def _outputs(stack: str) -> EnvironmentOutputs:
    return EnvironmentOutputs(stack=stack, system="shop", branch="pool", services={})


@pytest.fixture
def knowledge(monkeypatch: pytest.MonkeyPatch) -> Knowledge:
    return Knowledge(monkeypatch)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of pools that somebody began to fill."""
    names: list[str] = []

    def detached(_module: str, arguments: list[str], _log: Path) -> Any:
        names.extend(arguments)
        return subprocess.CompletedProcess([], 0)

    monkeypatch.setattr(pool, "detached", detached)
    return names


def _pool(workspace: Workspace, **fields: Any) -> Pool:
    known: dict[str, Any] = {"system": "shop", "project": "demo", "size": 2, "config": {}}
    wanted = Pool(**{**known, "checkout": str(workspace.project), **fields})
    pool.write(wanted)
    return wanted


def _ready(workspace: Workspace, name: str = "shop--aaaaaa", **fields: Any) -> str:
    later = time.time() + 100
    given = {"phase": "pooled", "branch": "pool", "checkout": str(workspace.project), "expires_at": later, **fields}
    leases.write(lease_of(name, **given))
    return name


def _claim(workspace: Workspace, phase: Any = "kept", system: Manifest = SHOP) -> str | None:
    found = pool.claim(workspace, system, _SETTINGS, phase)
    assert found is None or found.branch == "fix", "its outputs are the branch's from now on"
    return found.stack if found else None


def _lease(stack: str) -> leases.Lease:
    lease = leases.read(stack)
    assert lease is not None
    return lease


def test_name_is_no_branchs() -> None:
    name = pool_stack_name("shop")
    assert is_pool_stack(name, "shop")
    for branch in ("-" + name[6:], name[5:], "--", "pool", name):
        assert not is_pool_stack(stack_name("shop", branch), "shop")
    assert not is_pool_stack("shop-x-main", "shop-x")


def test_claimed_one_is_the_branchs_and_given_to_nobody_else(workspace: Workspace, knowledge: Knowledge) -> None:
    stack = _ready(workspace)
    assert _claim(workspace) == stack
    lease = _lease(stack)
    assert (lease.phase, lease.branch, lease.holder) == ("kept", "fix", None)
    assert lease.expires_at > time.time() + leases.DEFAULT_TTL_SECONDS - 60
    assert _claim(workspace) is None
    assert leases.claimed_as("shop-fix", "shop", str(workspace.project)) == stack
    assert leases.claimed_as("shop-main", "shop", str(workspace.project)) is None
    assert leases.claimed_as("shop-fix", "shop", "/elsewhere") is None


def test_disposable_one_is_held_and_guarded_by_who_claimed_it(workspace: Workspace, knowledge: Knowledge) -> None:
    stack = _ready(workspace)
    assert _claim(workspace, "disposable") == stack
    lease = _lease(stack)
    assert (lease.phase, lease.holder, lease.guardian) == ("disposable", ProcessId.of(), _DEAD)
    let_go(stack)
    assert leases.claimed_as("shop-fix", "shop", str(workspace.project)) is None, "kept or not, it is the run's"


@pytest.mark.parametrize(
    "fields",
    [
        {"expires_at": 1.0},
        {"phase": "creating"},
        {"phase": "destroying"},
        {"phase": "kept", "branch": "pool"},
        {"holder": ProcessId.of()},
        {"users": (ProcessId.of(),)},
        {"checkout": "/elsewhere"},
        {"system": "other"},
    ],
)
def test_what_is_not_free_for_this_checkout_is_not_given(
    workspace: Workspace, knowledge: Knowledge, fields: dict[str, Any]
) -> None:
    stack = _ready(workspace, **fields)
    before = _lease(stack)
    assert _claim(workspace) is None
    assert _lease(stack) == before


def test_one_that_was_made_of_another_request_stays_for_who_wants_it(
    workspace: Workspace, knowledge: Knowledge
) -> None:
    stack = _ready(workspace)
    knowledge.same_request = False
    assert _claim(workspace) is None
    assert pool.free(_lease(stack))


def test_stale_one_is_never_given_and_is_the_reapers(workspace: Workspace, knowledge: Knowledge) -> None:
    stale, fit = _ready(workspace, created_at=1.0), _ready(workspace, "shop--bbbbbb", created_at=2.0)
    knowledge.unlike[stale] = "shop.py differs"
    assert _claim(workspace) == fit
    knowledge.unlike.clear()
    assert _claim(workspace) is None
    assert [lease.stack for lease, _ in reaper.due()] == [stale]


def test_one_that_is_taken_down_by_name_meanwhile_is_not_given(workspace: Workspace, knowledge: Knowledge) -> None:
    stack = _ready(workspace)
    knowledge.during = lambda stack: leases.change(stack, phase="destroying", holder=_DEAD)
    assert _claim(workspace) is None
    assert _lease(stack).phase == "destroying"


def test_one_that_somebody_claims_between_look_and_grasp_stays_theirs(
    workspace: Workspace, knowledge: Knowledge, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = _ready(workspace)
    seen = _lease(stack)
    monkeypatch.setattr(pool, "_members", lambda *_: [seen])
    assert _claim(workspace) == stack
    theirs = _lease(stack)
    assert _claim(workspace) is None
    assert _lease(stack) == theirs


def test_one_whose_claimant_was_killed_is_taken_down(workspace: Workspace, knowledge: Knowledge) -> None:
    stack = _ready(workspace, holder=_DEAD)
    assert [(lease.stack, why) for lease, why in reaper.due()] == [(stack, "its owner died")]


_CLAIMERS = """
import os, sys
from pathlib import Path
from types import SimpleNamespace
from ephemera.model.outputs import EnvironmentOutputs
from ephemera.model.settings import Settings
from ephemera.lifecycle import pool; from ephemera.pulumi import known
from ephemera.pulumi.workspace import Workspace
known.read = lambda stack: SimpleNamespace()
known.same_request = lambda *_: True
known.why_not = lambda *_, **__: ""
known.shown = lambda stack, _: EnvironmentOutputs(stack=stack, system="shop", branch="pool", services={})
go, ready = os.pipe()
for number in range(20):
    if os.fork() == 0:
        os.close(ready)
        os.read(go, 1)
        settings = Settings(system="shop", branch=f"b{number}")
        found = pool.claim(Workspace(Path(sys.argv[1]), "demo"), None, settings, "kept")
        os.write(1, f"{number} {found.stack if found else '-'}\\n".encode())
        os._exit(0)
os.close(ready)
for number in range(20):
    os.wait()
"""


def test_of_twenty_processes_at_once_each_gets_another_one(workspace: Workspace) -> None:
    for number in range(3):
        _ready(workspace, f"shop--aaaaa{number}")
    done = subprocess.run(
        [sys.executable, "-c", _CLAIMERS, str(workspace.project)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**os.environ},
    )
    given = dict(line.split() for line in done.stdout.splitlines())
    assert len(given) == 20
    stacks = sorted(stack for stack in given.values() if stack != "-")
    assert stacks == ["shop--aaaaa0", "shop--aaaaa1", "shop--aaaaa2"]
    for name, stack in given.items():
        assert stack == "-" or (_lease(stack).phase, _lease(stack).branch) == ("kept", f"b{name}")


def test_pool_is_due_when_one_is_missing(workspace: Workspace, started: list[str]) -> None:
    wanted = _pool(workspace)
    _ready(workspace)
    pool.start_if_due()
    assert started == [wanted.name]
    _ready(workspace, "shop--bbbbbb", phase="creating", holder=ProcessId.of())
    assert not pool.due(wanted), "it is coming up"
    leases.change("shop--bbbbbb", holder=_DEAD)
    assert pool.due(wanted), "it is not any more"


def test_one_that_fails_again_and_again_is_tried_less_and_less_often(workspace: Workspace) -> None:
    wanted = _pool(workspace)
    pauses = []
    for _ in range(8):
        pool.note(wanted, "no image")
        current = pool.read(wanted.name)
        assert current is not None
        assert current.problem == "no image"
        assert not pool.due(current)
        pauses.append(next(seconds for seconds in range(60, 7200, 60) if _due_after(current, seconds)))
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (60, 3600)
    pool.note(wanted, "")
    current = pool.read(wanted.name)
    assert current is not None
    assert (current.problem, current.failures) == ("", 0)


def _due_after(wanted: Pool, seconds: float) -> bool:
    return pool.due(Pool(**{**wanted.__dict__, "tried_at": wanted.tried_at - seconds}))


def test_size_0_forgets_the_pool(workspace: Workspace) -> None:
    wanted = _pool(workspace)
    assert pool.pools() == [wanted]
    _pool(workspace, size=0)
    assert pool.pools() == []
    pool.note(wanted, "too late")
    assert pool.pools() == []


def test_damaged_file_is_no_pool(workspace: Workspace) -> None:
    wanted = _pool(workspace)
    (state_dir() / "pools" / f"{wanted.name}.json").write_text("{")
    assert pool.pools() == []
