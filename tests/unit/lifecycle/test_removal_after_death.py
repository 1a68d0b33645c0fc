from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ephemera import images
from ephemera.home import addresses, identity, leases
from ephemera.home.leases import Lease
from ephemera.host.processes import ProcessId
from ephemera.lifecycle import removal
from ephemera.lifecycle.take_down import clean_up_after
from ephemera.model.errors import EngineError
from ephemera.pulumi import engine
from ephemera.pulumi.workspace import Workspace
from tests.unit.doubles import IDENTITY, FakeClient, marks
from tests.unit.processes import python

_STACK = IDENTITY.stack


@pytest.fixture(autouse=True)
def dropped(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether the stack was still known, each time that the rests of abandoned builds were dropped."""
    seen: list[bool] = []
    monkeypatch.setattr(images, "drop_abandoned", lambda: seen.append(leases.read(_STACK) is not None))
    return seen


@pytest.fixture(autouse=True)
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked of the engine."""
    seen: list[str] = []
    monkeypatch.setattr(engine, "destroy", lambda _, stack: seen.append(f"destroy {stack}"))
    return seen


@pytest.fixture
def lease(workspace: Workspace, docker: FakeClient) -> Lease:
    """A stack whose owner died while it was made."""
    docker.api.add("container", f"{_STACK}-db", marks(_STACK, identity.backend_id(), "db"))
    docker.api.add("network", _STACK, marks(_STACK, identity.backend_id()))
    _state(workspace, "docker:index/container:Container")
    addresses.allocate(_STACK, pool="10.213.0.0/16")
    dead = ProcessId.of_started(2**22 - 1)
    first = leases.first_seen(_STACK, "demo", str(workspace.project), IDENTITY)
    lease = replace(first, phase="creating", holder=dead)
    leases.write(lease)
    return lease


def _state(workspace: Workspace, *types: str) -> Path:
    resources = [{"type": "pulumi:pulumi:Stack", "custom": False}, *({"type": kind, "custom": True} for kind in types)]
    path = workspace.state_file(_STACK)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"checkpoint": {"latest": {"resources": resources}}}))
    return path


def test_half_made_environment_is_gone_with_all_that_is_recorded_of_it(
    workspace: Workspace, docker: FakeClient, lease: Lease, calls: list[str]
) -> None:
    clean_up_after(workspace, lease)
    assert set(docker.api.removed) == {f"{_STACK}-db", _STACK}
    assert not workspace.exists(_STACK)
    assert leases.read(_STACK) is None
    assert addresses.lookup(_STACK) is None
    assert calls == [], "labels cover all of it"


def test_kept_environment_is_unlocked_and_left(
    workspace: Workspace, docker: FakeClient, lease: Lease, calls: list[str]
) -> None:
    lease = replace(lease, phase="kept")
    leases.write(lease)
    known = [{"urn": name, "type": "t", "custom": True, "id": f"{name}-id"} for name in (_STACK, f"{_STACK}-db")]
    workspace.state_file(_STACK).parent.mkdir(parents=True, exist_ok=True)
    workspace.state_file(_STACK).write_text(json.dumps({"checkpoint": {"latest": {"resources": known}}}))
    # Made by the engine that was killed, and not written down: in the way of the next one.
    docker.api.add("container", f"{_STACK}-db", marks(_STACK, identity.backend_id(), "db"), Id="made-anew")
    clean_up_after(workspace, lease)
    assert calls == []
    assert docker.api.removed == [f"{_STACK}-db"]
    assert [item["Id"] for item in docker.api.listed_containers] == [f"{_STACK}-db-id"]
    left = leases.read(_STACK)
    assert left is not None
    assert left.holder is None


def test_rests_of_its_build_go_when_nobody_waits_for_the_stack_any_more(
    workspace: Workspace, lease: Lease, dropped: list[bool]
) -> None:
    clean_up_after(workspace, lease)
    assert dropped == [False]
    clean_up_after(workspace, lease)
    assert dropped == [False, False], "also by one who was killed, or found no Docker, in between"


def test_checkout_may_be_gone(workspace: Workspace, lease: Lease) -> None:
    clean_up_after(Workspace(Path("/gone"), workspace.name), lease)
    assert leases.read(_STACK) is None


def test_engine_of_the_dead_owner_is_ended_first(workspace: Workspace, lease: Lease) -> None:
    with python("import os; os.setsid(); print('there', flush=True); input()") as process:
        assert process.stdout is not None
        process.stdout.readline()
        left = ProcessId.of(process.pid)
        lease = replace(lease, engine=left)
        leases.write(lease)
        clean_up_after(workspace, lease)
        assert not left.alive()


def test_environment_that_somebody_took_over_is_left_alone(
    workspace: Workspace, docker: FakeClient, lease: Lease, calls: list[str]
) -> None:
    leases.change(_STACK, holder=ProcessId.of())
    clean_up_after(workspace, lease)
    assert docker.api.removed == []
    assert workspace.exists(_STACK)
    assert calls == []


def test_what_labels_do_not_cover_is_destroyed_by_the_engine(
    workspace: Workspace, docker: FakeClient, lease: Lease, calls: list[str]
) -> None:
    _state(workspace, "docker:index/container:Container", "aws:s3/bucket:Bucket")
    removal.discard(workspace, _STACK)
    assert calls == [f"destroy {_STACK}"]
    assert set(docker.api.removed) == {f"{_STACK}-db", _STACK}


@pytest.mark.parametrize("text", ["{}", '{"checkpoint": {"latest": null}}', '{"checkpoint": {"latest": {}}}'])
def test_state_of_an_engine_that_was_killed_early_holds_nothing(
    workspace: Workspace, lease: Lease, calls: list[str], text: str
) -> None:
    workspace.state_file(_STACK).write_text(text)
    removal.discard(workspace, _STACK)
    assert calls == []
    assert not workspace.exists(_STACK)


def test_state_that_cannot_be_read_is_not_thrown_away(workspace: Workspace, lease: Lease) -> None:
    workspace.state_file(_STACK).write_text("{")
    with pytest.raises(EngineError, match=f"the state of {_STACK} cannot be read"):
        removal.discard(workspace, _STACK)
    assert workspace.exists(_STACK)
