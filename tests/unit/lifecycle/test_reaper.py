from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ephemera import images
from ephemera.docker.connection import docker_host
from ephemera.home import builds, leases
from ephemera.home.leases import Lease
from ephemera.home.paths import state_dir
from ephemera.host.processes import ProcessId
from ephemera.lifecycle import holding, reaper
from ephemera.model.errors import EngineError, Interrupt
from ephemera.pulumi.workspace import Workspace
from tests.unit.doubles import IDENTITY

_STACK = IDENTITY.stack
_DEAD = ProcessId.of_started(2**22 - 1)


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was done to which stack, of which project."""
    seen: list[str] = []

    def clean_up_after(workspace: Workspace, lease: Lease) -> None:
        seen.append(f"clean up after {workspace.name}/{lease.stack}")

    def down(workspace: Workspace, stack: str) -> None:
        seen.append(f"down {workspace.name}/{stack}")

    monkeypatch.setattr(reaper, "clean_up_after", clean_up_after)
    monkeypatch.setattr(reaper, "down", down)
    return seen


def _lease(**fields: Any) -> Lease:
    lease = replace(leases.first_seen(_STACK, "demo", "/gone/checkout", IDENTITY), **fields)
    leases.write(lease)
    return lease


def test_environment_whose_owner_and_guardian_died_is_cleaned_up_after(done: list[str]) -> None:
    _lease(holder=_DEAD, guardian=_DEAD, phase="disposable")
    (reaped,) = reaper.reap()
    assert (reaped.stack, reaped.reason, reaped.problem) == (_STACK, "its owner died", "")
    assert done == [f"clean up after demo/{_STACK}"], "also when its checkout is gone"


def test_environment_that_expired_is_taken_down(done: list[str]) -> None:
    _lease(expires_at=time.time() - 1)
    (reaped,) = reaper.reap()
    assert reaped.reason == "expired"
    assert done == [f"down demo/{_STACK}"]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"expires_at": 0.0, "holder": ProcessId.of()},
        {"expires_at": 0.0, "suite": ProcessId.of()},
        {"expires_at": 0.0, "users": (ProcessId.of(),)},
        {"holder": _DEAD, "guardian": ProcessId.of()},
    ],
    ids=["fresh", "held", "tested", "attached", "guarded"],
)
def test_environment_that_is_used_or_fresh_or_guarded_is_left(done: list[str], fields: dict[str, Any]) -> None:
    _lease(**fields)
    assert reaper.due() == []
    assert reaper.reap() == []
    assert done == []


def test_environment_that_somebody_begins_to_use_meanwhile_is_left(
    done: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = _lease(expires_at=0.0)
    monkeypatch.setattr(reaper, "due", lambda: [(lease, "expired")])
    with leases.using(_STACK):
        reaper.reap()
    assert done == []


def test_one_that_cannot_be_reaped_does_not_keep_the_others(done: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def down(_: Workspace, stack: str) -> None:
        if stack == _STACK:
            raise EngineError("the engine is at work on it")
        done.append(stack)

    monkeypatch.setattr(reaper, "down", down)
    leases.write(replace(_lease(expires_at=0.0), stack="shop-other"))
    problems = {reaped.stack: reaped.problem for reaped in reaper.reap()}
    assert problems == {_STACK: "the engine is at work on it", "shop-other": ""}
    assert done == ["shop-other"]


def test_interrupt_ends_the_reaping(done: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def down(*_: Any) -> None:
        raise Interrupt(2, remedy="")

    monkeypatch.setattr(reaper, "down", down)
    leases.write(replace(_lease(expires_at=0.0), stack="shop-other"))
    with pytest.raises(Interrupt):
        reaper.reap()


def test_nothing_is_started_when_nothing_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    _lease()
    monkeypatch.setattr(reaper, "detached", None)
    reaper.start_if_due()


def test_background_process_reaps_and_says_so(workspace: Workspace) -> None:
    workspace.state_file(_STACK).parent.mkdir(parents=True)
    workspace.state_file(_STACK).write_text("{")  # cannot be read: the reaper says so, instead of throwing it away
    _lease(holder=_DEAD, phase="creating", checkout=str(workspace.project), project=workspace.name)
    reaper.start_if_due()
    log = state_dir() / "logs" / "reaper.log"
    deadline = time.monotonic() + 30
    while not log.exists() or not log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert f"{_STACK}: its owner died; the state of {_STACK} cannot be read" in log.read_text()


def test_rests_of_an_abandoned_build_are_dropped(done: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []

    def detached(module: str, *_: Any) -> SimpleNamespace:
        started.append(module)
        return SimpleNamespace()

    monkeypatch.setattr(reaper, "detached", detached)
    monkeypatch.setattr(images, "drop_abandoned", lambda: done.append("dropped"))
    with suppress(KeyboardInterrupt), builds.exclusive("ephemera/api:0123") as begins:
        begins("api", docker_host())
        reaper.start_if_due()
        assert started == [], "it is going on"
        raise KeyboardInterrupt
    reaper.start_if_due()
    assert started == ["ephemera.lifecycle.reaper"]
    _lease(expires_at=time.time() - 1)
    reaper.reap()
    assert done == [f"down demo/{_STACK}", "dropped"]


@pytest.mark.usefixtures("done")
def test_files_of_a_command_that_was_killed_before_it_held_anything_go_with_the_next_one() -> None:
    def files(stack: str) -> list[Path]:
        made = [state_dir() / "operations" / f"{stack}.lock", holding.log_file(stack)]
        for path in made:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return made

    _lease(expires_at=time.time() + 100)
    held, killed = files(_STACK), files("box-killed")
    with leases.exclusive("box-at-work"):
        at_work = files("box-at-work")
        reaper.start_if_due()
        assert [path.exists() for path in (*held, *killed, *at_work)] == [True, True, False, False, True, True]
