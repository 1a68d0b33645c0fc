"""Filling a pool without Docker: what is made, what is taken down, and one process at a time."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from ephemera import lifecycle
from ephemera.home import leases
from ephemera.host.processes import ProcessId
from ephemera.lifecycle import Gone, Request, filling, pool
from ephemera.lifecycle.pool import Pool
from ephemera.model.errors import Interrupt, NoSuchEnvironmentError, ServiceFailedError
from ephemera.pulumi import known
from ephemera.pulumi.workspace import Workspace
from tests.unit.doubles import lease_of


class Making:
    """Stands for what makes environments and takes them down."""

    def __init__(self, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
        self.workspace = workspace
        self.made: list[str] = []
        self.gone: list[str] = []
        self.unlike: dict[str, str] = {}
        self.failure: BaseException | None = None
        self.doubt = ""
        self.during: Any = lambda: None
        monkeypatch.setattr(lifecycle, "up", self._up)
        monkeypatch.setattr(lifecycle, "down", self._down)
        monkeypatch.setattr(known, "read", lambda stack: stack)
        monkeypatch.setattr(known, "why_not", lambda _, __, stack, *___, **____: self.unlike.get(stack, ""))
        monkeypatch.setattr(known, "doubt", lambda _: self.doubt)

    def pool(self, size: int = 2, **config: str) -> Pool:
        wanted = Pool(system="shop", project="demo", checkout=str(self.workspace.project), size=size, config=config)
        pool.write(wanted)
        return wanted

    def add(self, stack: str, **fields: Any) -> None:
        """An environment with a lease."""
        known: dict[str, Any] = {
            "phase": "pooled",
            "branch": "pool",
            "checkout": str(self.workspace.project),
            "expires_at": time.time() + 100,
            "created_at": float(len(self.made)),
        }
        leases.write(lease_of(stack, **{**known, **fields}))

    def _up(self, _: Workspace, request: Request, report: Any) -> Any:
        assert request.phase == "pooled"
        assert request.stack is not None
        assert request.branch == "pool"
        self.during()
        if self.failure is not None:
            report({"type": "notice", "message": "evidence: there/index.html"})
            raise self.failure
        self.made.append(request.stack)
        self.add(request.stack)
        return SimpleNamespace(outputs=SimpleNamespace(stack=request.stack))

    def _down(self, _: Workspace, stack: str) -> Gone:
        self.gone.append(stack)
        if leases.read(stack) is None:
            raise NoSuchEnvironmentError(stack, ())
        leases.remove(stack)
        return Gone(stack=stack, seconds=0.1, leftovers=())


@pytest.fixture
def making(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Making:
    return Making(workspace, monkeypatch)


def test_what_is_missing_is_made(making: Making) -> None:
    wanted = making.pool(size=3)
    making.add("shop--aaaaaa")
    assert filling.fill(wanted.name) == ""
    assert len(making.made) == 2
    assert making.gone == []
    assert filling.fill(wanted.name) == ""
    assert len(making.made) == 2


def test_what_is_stale_dead_or_expired_is_replaced(making: Making) -> None:
    wanted = making.pool(size=3)
    for name in ("shop--aaaaaa", "shop--bbbbbb"):
        making.add(name)
    making.add("shop--cccccc", expires_at=1.0)
    making.unlike["shop--aaaaaa"] = "shop.py differs"
    assert filling.fill(wanted.name) == ""
    assert making.gone == ["shop--aaaaaa", "shop--cccccc"]
    assert len(making.made) == 2


def test_what_is_claimed_or_used_is_left_alone(making: Making) -> None:
    wanted = making.pool(size=1)
    me = ProcessId.of()
    for name, fields in (
        ("shop--aaaaaa", {"phase": "kept", "branch": "fix"}),
        ("shop--bbbbbb", {"holder": me}),
        ("shop--cccccc", {"users": (me,)}),
    ):
        making.add(name, **fields)
        making.unlike[name] = "its state was changed"
    assert filling.fill(wanted.name) == ""
    assert making.gone == []
    assert filling.empty(wanted) == []
    assert making.gone == making.made


def test_more_than_are_wanted_go(making: Making) -> None:
    for name in ("shop--aaaaaa", "shop--bbbbbb", "shop--cccccc"):
        making.add(name)
    assert filling.fill(making.pool(size=1).name) == ""
    assert len(making.gone) == 2
    assert making.made == []


def test_failure_is_remembered_with_its_evidence_and_ends_the_filling(making: Making) -> None:
    wanted = making.pool()
    making.failure = ServiceFailedError("db", "exited")
    problem = filling.fill(wanted.name)
    assert problem.startswith("service 'db' exited")
    assert problem.endswith("evidence: there/index.html")
    current = pool.read(wanted.name)
    assert current is not None
    assert (current.problem, current.failures) == (problem, 1)
    making.failure = None
    assert filling.fill(wanted.name) == ""
    current = pool.read(wanted.name)
    assert current is not None
    assert (current.problem, current.failures) == ("", 0)


def test_interrupt_is_no_failure_of_the_pool(making: Making) -> None:
    wanted = making.pool()
    making.failure = Interrupt(2, remedy="")
    with pytest.raises(Interrupt):
        filling.fill(wanted.name)
    assert pool.due(wanted)
    assert pool.read(wanted.name) == wanted


def test_what_could_never_be_given_is_not_kept(making: Making) -> None:
    wanted = making.pool()
    making.doubt = "the program starts a process"
    assert filling.fill(wanted.name) == ("environments of shop cannot wait in a pool: the program starts a process")
    assert making.gone == making.made
    assert len(making.made) == 1


def test_pool_that_is_given_up_meanwhile_is_not_filled_on(making: Making) -> None:
    wanted = making.pool(size=3)
    making.during = lambda: pool.write(Pool(**{**wanted.__dict__, "size": 0}))
    filling.fill(wanted.name)
    assert len(making.made) == 1
    assert filling.empty(wanted) == []
    assert making.gone == making.made


def test_one_fills_at_a_time_and_makes_what_is_wanted_meanwhile(making: Making) -> None:
    wanted = making.pool(size=1)
    with pool.filling(wanted.name):
        assert filling.main([wanted.name]) == 0
        assert making.made == []
    asked: list[int] = []

    def another() -> None:
        if not asked:  # while the first one is made
            asked.append(filling.main([making.pool(size=3).name]))
            assert making.made == []

    making.during = another
    assert filling.main([wanted.name]) == 0
    assert asked == [0]
    assert len(making.made) == 3


def test_pool_that_is_made_larger_as_its_filling_ends_is_filled(
    making: Making, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = making.pool(size=1)
    missing = pool.missing

    def looked(current: Pool) -> bool:
        found = missing(current)
        if not found and current.size == 1:  # the last look; who wants another one finds the pool being filled
            making.pool(size=2)
            assert filling.main([wanted.name]) == 0
        return found

    monkeypatch.setattr(pool, "missing", looked)
    filling.main([wanted.name])
    assert len(making.made) == 2


def test_pool_that_is_set_anew_while_an_attempt_fails_is_tried_at_once(making: Making) -> None:
    wanted = making.pool(size=1, level="debug")
    making.failure = ServiceFailedError("db", "exited")

    def set_anew() -> None:
        making.during = lambda: setattr(making, "failure", None)
        making.pool(size=1)
        assert filling.main([wanted.name]) == 0, "the pool is being filled"

    making.during = set_anew
    assert filling.main([wanted.name]) == 0
    assert len(making.made) == 1
