from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ephemera import lifecycle
from ephemera.home import addresses, identity, leases
from ephemera.home.paths import state_dir
from ephemera.host.processes import ProcessId
from ephemera.lifecycle import Request, holding, mending, reaper, removal
from ephemera.model import labels
from ephemera.model.catalog import Catalog
from ephemera.model.errors import (
    EngineError,
    InputError,
    Interrupt,
    LeftoversError,
    MachineError,
    NoSuchEnvironmentError,
    ServiceFailedError,
    StackTakenError,
    UnknownNameError,
)
from ephemera.model.outputs import EnvironmentOutputs
from ephemera.model.progress import Event
from ephemera.pulumi import engine
from ephemera.pulumi.workspace import Workspace
from tests.unit.doubles import SHOP, FakeClient, engine_lock, marks

_STACK = "shop-main"
# An image that is to go with the stack, which only the engine sees to.
_RESOURCE = {"urn": "urn:image", "type": "docker:index/remoteImage:RemoteImage", "custom": True, "inputs": {}}
_MADE = [
    {
        "urn": f"urn:{name}",
        "type": f"docker:index/{kind}",
        "custom": True,
        "id": f"{name}-id",
        "outputs": {"name": name},
    }
    for name, kind in (("shop-main", "network:Network"), ("shop-main-db", "container:Container"))
]
_STATE = json.dumps({"version": 3, "checkpoint": {"latest": {"resources": [_RESOURCE, *_MADE]}}})


@pytest.fixture
def pulumi(workspace: Workspace, docker: FakeClient, monkeypatch: pytest.MonkeyPatch) -> FakePulumi:
    """Stands for the engine: makes and drops a stack's state and its containers."""
    fake = FakePulumi(workspace, docker)
    for name in ("up", "destroy", "outputs"):
        monkeypatch.setattr(engine, name, getattr(fake, name))
    monkeypatch.setattr(holding, "keep", fake.guard)
    monkeypatch.setattr(mending, "mend", fake.mend)
    return fake


class FakePulumi:
    def __init__(self, workspace: Workspace, docker: FakeClient) -> None:
        self.calls: list[str] = []
        self.failure: BaseException | None = None
        self.leaves: list[str] = []
        self.mended: list[str] = []
        self._workspace = workspace
        self._docker = docker

    def up(
        self,
        workspace: Workspace,
        stack: str,
        _report: Any,
        *,
        catalog: Catalog,
        ready: Any = None,
        timed: bool = False,
    ) -> EnvironmentOutputs:
        assert catalog == {"shop": SHOP}
        made = self._workspace.state_file(stack).read_text() == _STATE
        self.calls.append(f"{'update' if made else 'create'} {stack}")
        lease = leases.read(stack)
        assert lease is not None
        assert lease.held()
        self._workspace.state_file(stack).write_text(_STATE)
        addresses.allocate(stack, pool="10.213.0.0/16")
        self._docker.api.add("network", stack, marks(stack, identity.backend_id()))
        if self.failure is not None:
            raise self.failure
        return self.outputs(workspace, stack)

    def outputs(self, _: Workspace, stack: str) -> EnvironmentOutputs:
        return EnvironmentOutputs(stack=stack, system="shop", branch="main", services={})

    def destroy(self, _: Workspace, stack: str) -> None:
        self.calls.append(f"destroy {stack}")
        if self.failure is not None:
            raise self.failure
        self._docker.api.listed_networks[:] = [
            item for item in self._docker.api.listed_networks if item["Name"] in self.leaves
        ]
        self._workspace.state_file(stack).unlink()

    def mend(self, _: Workspace, stack: str, _report: Any) -> None:
        assert self.calls[-1] != f"update {stack}", "it is mended before the engine runs"
        self.mended.append(stack)

    def guard(self, _project: Path, stack: str, record: Callable[[ProcessId], object]) -> None:
        self.calls.append(f"guard {stack}")
        record(ProcessId.of_started(2**22 - 1))


def _up(workspace: Workspace, **given: Any) -> lifecycle.Ready:
    return lifecycle.up(workspace, Request(**{"system": "shop", "branch": "main", **given}), lambda _: None)


def _lease() -> leases.Lease:
    lease = leases.read(_STACK)
    assert lease is not None
    return lease


def _plan(workspace: Workspace, **given: Any) -> tuple[str, Any]:
    stack, _, settings = lifecycle.plan(workspace, Request(**{"system": "shop", "branch": "main", **given}))
    return stack, settings


def _nothing_is_left(workspace: Workspace, docker: FakeClient) -> bool:
    files = [path for path in state_dir().rglob("*") if path.is_file() and _STACK in path.name]
    return not (
        files
        or workspace.exists(_STACK)
        or workspace.config_file(_STACK).exists()
        or leases.read(_STACK)
        or addresses.lookup(_STACK)
        or docker.api.listed_networks
    )


def test_plan_names_the_stack_after_system_and_branch(workspace: Workspace) -> None:
    stack, settings = _plan(workspace, branch="Feature/X", suffix="abc123")
    assert stack.startswith("shop-feature-x-")
    assert stack.endswith("-abc123")
    assert (settings.system, settings.branch, settings.owner) == ("shop", "Feature/X", identity.owner())


def test_name_that_is_another_systems_stack_is_refused(workspace: Workspace) -> None:
    workspace.write_config(_STACK, {"system": "shop-main", "branch": "x"})
    with pytest.raises(StackTakenError, match="is one of system 'shop-main', branch 'x'"):
        _plan(workspace, branch="main")


def test_flag_wins_over_environment_over_config_over_default(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _plan(workspace)[1].expose == "auto"
    workspace.write_config(_STACK, {"expose": "none"})
    assert _plan(workspace)[1].expose == "none"
    monkeypatch.setenv("EPHEMERA_EXPOSE", "dynamic")
    assert _plan(workspace)[1].expose == "dynamic"
    assert _plan(workspace, config={"expose": "loopback"})[1].expose == "loopback"


def test_flag_of_the_branch_wins_over_the_variable(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EPHEMERA_BRANCH", "other")
    stack, settings = _plan(workspace, branch="main")
    assert (stack, settings.branch) == ("shop-main", "main")
    stack, settings = _plan(workspace, branch=None)
    assert (stack, settings.branch) == ("shop-other", "other")


def test_labels_of_a_living_stack_stay(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace.write_config(_STACK, {"system": "shop", "branch": "main", "owner": "first@host"})
    monkeypatch.setenv("EPHEMERA_OWNER", "second@host")
    monkeypatch.setenv("EPHEMERA_SYSTEM", "other")
    assert _plan(workspace)[1].owner == "first@host"
    workspace.config_file(_STACK).unlink()
    assert _plan(workspace)[1].owner == "second@host"


def test_a_profile_on_a_living_stack_is_added_to_those_it_has(workspace: Workspace) -> None:
    workspace.write_config(_STACK, {"profiles": '["lab"]'})
    assert _plan(workspace, config={"profiles": '["scale"]'})[1].profiles == ("lab", "scale")
    assert _plan(workspace)[1].profiles == ("lab",)
    workspace.write_config(_STACK, {"profiles": "[]"})
    assert _plan(workspace, config={"profiles": '["scale"]'})[1].profiles == ("scale",)


def test_only_on_a_living_stack_adds_and_never_takes_away(workspace: Workspace) -> None:
    workspace.write_config(_STACK, {"only": '["db"]'})
    assert _plan(workspace, config={"only": '["api"]'})[1].only == ("db", "api")
    workspace.write_config(_STACK, {"branch": "main"})
    assert _plan(workspace, config={"only": '["db"]'})[1].only == (), "all of it is there"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"system": "shp"}, "unknown system 'shp'"),
        ({"branch": ""}, "branch name is empty"),
        ({"config": {"only": "nope"}}, "unknown service 'nope'"),
        ({"config": {"exposee": "x"}}, "unknown config key"),
    ],
)
def test_bad_input_creates_nothing(
    workspace: Workspace, pulumi: FakePulumi, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        _up(workspace, **given)
    assert pulumi.calls == []
    assert list(state_dir().rglob("*.json")) == []


def test_kept_environment_stays_and_nobody_holds_it(workspace: Workspace, pulumi: FakePulumi) -> None:
    ready = _up(workspace, config={"expose": "none"})
    assert ready.created
    assert pulumi.calls == ["guard shop-main", "create shop-main"]
    lease = _lease()
    assert (lease.phase, lease.holder, lease.guardian) == ("kept", None, None)
    assert workspace.read_config(_STACK)["expose"] == "none"
    again = _up(workspace)
    assert not again.created
    assert pulumi.calls[-1] == "update shop-main"


def test_disposable_environment_is_held_by_who_asked(workspace: Workspace, pulumi: FakePulumi) -> None:
    _up(workspace, phase="disposable")
    lease = _lease()
    assert lease.phase == "disposable"
    assert lease.holder == ProcessId.of()


@pytest.mark.parametrize("failure", [ServiceFailedError("api", "exited"), KeyboardInterrupt(), ZeroDivisionError()])
def test_what_did_not_become_ready_is_gone_without_a_trace(
    workspace: Workspace,
    docker: FakeClient,
    pulumi: FakePulumi,
    monkeypatch: pytest.MonkeyPatch,
    failure: BaseException,
) -> None:
    pulumi.failure = failure
    monkeypatch.setattr(reaper, "start_if_due", lambda: pulumi.calls.append("reap"))
    with pytest.raises(type(failure)):
        _up(workspace)
    assert _nothing_is_left(workspace, docker)
    artifacts = workspace.project / ".ephemera" / "artifacts"
    assert artifacts.exists() is isinstance(failure, ServiceFailedError), "an interrupt needs no evidence"
    assert pulumi.calls[-1] == "reap", "what is left of the build that it has interrupted"


def test_failed_update_leaves_the_environment_unlocked_and_as_it_was(
    workspace: Workspace, docker: FakeClient, pulumi: FakePulumi
) -> None:
    _up(workspace)
    before = _lease()
    pulumi.failure = ServiceFailedError("api", "exited")
    with pytest.raises(ServiceFailedError):
        _up(workspace)
    assert workspace.exists(_STACK)
    after = _lease()
    assert (after.run, after.holder, after.phase) == (before.run, None, "kept")


def test_interrupted_creation_is_not_kept(workspace: Workspace, docker: FakeClient, pulumi: FakePulumi) -> None:
    pulumi.failure = Interrupt(2, remedy="")
    with pytest.raises(Interrupt):
        _up(workspace, keep_on_failure=True)
    assert _nothing_is_left(workspace, docker)


def test_failure_may_be_kept_to_be_looked_at(workspace: Workspace, pulumi: FakePulumi) -> None:
    pulumi.failure = ServiceFailedError("api", "exited")
    with pytest.raises(ServiceFailedError):
        _up(workspace, keep_on_failure=True)
    assert workspace.exists(_STACK)
    lease = _lease()
    assert (lease.phase, lease.holder) == ("kept", None)


def test_environment_that_was_there_is_mended_before_its_update(workspace: Workspace, pulumi: FakePulumi) -> None:
    _up(workspace)
    assert pulumi.mended == [], "a new one needs none of it"
    _up(workspace)
    assert pulumi.mended == [_STACK]


def test_phases_and_what_a_timeline_is_made_of_are_reported(
    workspace: Workspace, pulumi: FakePulumi, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    def up(*given: Any, timed: bool, **more: Any) -> EnvironmentOutputs:
        asked.append(timed)
        return pulumi.up(*given, **more)

    monkeypatch.setattr(engine, "up", up)
    seen: list[Event] = []
    lifecycle.up(workspace, Request(system="shop", branch="main", timed=True), seen.append)
    assert [event["name"] for event in seen if event["type"] == "phase"] == ["prepare", "engine", "finish"]
    _up(workspace, force=True)
    assert asked == [True, False]


def test_name_that_is_alive_in_another_checkout_is_refused(workspace: Workspace, pulumi: FakePulumi) -> None:
    _up(workspace)
    leases.change(_STACK, checkout="/elsewhere")
    with pytest.raises(StackTakenError, match="belongs to checkout /elsewhere"):
        _up(workspace)


def test_name_that_is_alive_in_another_backend_is_refused_with_its_owner(
    workspace: Workspace, docker: FakeClient, pulumi: FakePulumi
) -> None:
    docker.api.add("network", _STACK, {**marks(_STACK, "another"), labels.OWNER: "you@there"})
    with pytest.raises(StackTakenError, match=r"belongs to you@there \(backend another\)"):
        _up(workspace)
    assert pulumi.calls == []


def test_down_leaves_nothing_and_proves_it(workspace: Workspace, docker: FakeClient, pulumi: FakePulumi) -> None:
    _up(workspace)
    gone = lifecycle.down(workspace, _STACK)
    assert gone.leftovers == ()
    assert lifecycle.proven(gone) is gone
    assert _nothing_is_left(workspace, docker)


def test_what_destroy_leaves_behind_is_removed_and_told(
    workspace: Workspace, docker: FakeClient, pulumi: FakePulumi
) -> None:
    _up(workspace)
    pulumi.leaves = [_STACK]
    gone = lifecycle.down(workspace, _STACK)
    assert gone.leftovers == ("network shop-main",)
    assert _nothing_is_left(workspace, docker)
    with pytest.raises(LeftoversError, match="network shop-main"):
        lifecycle.proven(gone)


def test_engine_that_cannot_destroy_leaves_evidence_and_a_word(
    workspace: Workspace, docker: FakeClient, pulumi: FakePulumi
) -> None:
    _up(workspace)
    pulumi.failure = EngineError("the engine says no")
    said: list[str] = []
    lifecycle.down(workspace, _STACK, lambda event: said.append(event["message"]))
    assert said
    assert said[-2].startswith("evidence: ")
    assert said[-1] == "the engine says no; removed by label instead"
    assert list((workspace.project / ".ephemera" / "artifacts").iterdir())
    assert _nothing_is_left(workspace, docker)


def test_destroy_is_guarded_and_a_killed_one_is_to_be_finished(
    workspace: Workspace, docker: FakeClient, pulumi: FakePulumi, monkeypatch: pytest.MonkeyPatch
) -> None:
    _up(workspace)
    seen = []

    def destroy(_: Workspace, stack: str) -> None:
        seen.append((lease := _lease()).phase)
        assert lease.held()
        pulumi.destroy(workspace, stack)

    monkeypatch.setattr(engine, "destroy", destroy)
    lifecycle.down(workspace, _STACK)
    assert seen == ["destroying"]
    assert pulumi.calls[-2:] == ["guard shop-main", "destroy shop-main"]


def test_interrupted_destroy_is_left_to_the_guardian(workspace: Workspace, pulumi: FakePulumi) -> None:
    _up(workspace)
    pulumi.failure = Interrupt(2, remedy="")
    with pytest.raises(Interrupt, match="taken down in the background"):
        lifecycle.down(workspace, _STACK)
    assert (_lease().phase, _lease().holder) == ("destroying", ProcessId.of())


@pytest.mark.parametrize("phase", ["kept", "disposable"])
def test_environment_that_another_engine_is_at_work_on_stays_as_it_was(
    workspace: Workspace, docker: FakeClient, pulumi: FakePulumi, phase: Any
) -> None:
    _up(workspace, phase=phase)
    before = _lease()
    pulumi.failure = EngineError("locked")
    engine_lock(workspace, _STACK)
    with pytest.raises(EngineError, match="locked"):
        lifecycle.down(workspace, _STACK)
    assert (_lease().phase, _lease().holder) == (phase, before.holder)
    assert docker.api.listed_networks


def test_clean_up_that_has_to_wait_leaves_lease_and_guardian_and_tells_what_failed_first(
    workspace: Workspace, docker: FakeClient, pulumi: FakePulumi, monkeypatch: pytest.MonkeyPatch
) -> None:
    def remove(*_: Any, **__: Any) -> None:
        raise MachineError("no Docker engine answers")

    monkeypatch.setattr(removal, "remove", remove)
    pulumi.failure = ServiceFailedError("api", "exited")
    said: list[str] = []
    with pytest.raises(ServiceFailedError):
        lifecycle.up(workspace, Request(system="shop", branch="main"), lambda event: said.append(str(event)))
    assert (_lease().phase, _lease().holder) == ("creating", ProcessId.of())
    assert _lease().guardian is not None
    assert "is cleaned up in the background, not yet: no Docker engine answers" in said[-1]


def test_objects_without_state_are_taken_down_too(workspace: Workspace, docker: FakeClient, pulumi: FakePulumi) -> None:
    docker.api.add("network", _STACK, marks(_STACK, identity.backend_id()))
    assert lifecycle.down(workspace, _STACK).leftovers == ("network shop-main",)
    assert _nothing_is_left(workspace, docker)


@pytest.mark.parametrize("text", [None, "", "null", "{", "[]", '{"checkpoint": 3}'])
def test_environment_that_has_lost_its_state_is_found_by_label_and_leaves_nothing(
    workspace: Workspace, docker: FakeClient, pulumi: FakePulumi, text: str | None
) -> None:
    _up(workspace)
    if text is None:
        workspace.state_file(_STACK).unlink()
    else:
        workspace.state_file(_STACK).write_text(text)
    gone = lifecycle.down(workspace, _STACK)
    assert gone.leftovers == (), "that is no defect"
    assert docker.api.listed_containers == []
    assert docker.api.listed_networks == []
    kept = [path.read_text() for path in workspace.state_file(_STACK).parent.glob("*.unreadable-*")]
    assert kept == ([] if text is None else [text])


def test_absent_environment_is_refused_and_leaves_no_trace(
    workspace: Workspace, docker: FakeClient, pulumi: FakePulumi
) -> None:
    with pytest.raises(NoSuchEnvironmentError, match="no environment 'shop-main' is running"):
        lifecycle.down(workspace, _STACK)
    with pytest.raises(NoSuchEnvironmentError):
        lifecycle.outputs(workspace, _STACK)
    assert _nothing_is_left(workspace, docker)


def test_using_an_environment_moves_its_expiry(workspace: Workspace, pulumi: FakePulumi) -> None:
    _up(workspace)
    leases.change(_STACK, expires_at=0.0)
    lifecycle.outputs(workspace, _STACK)
    lease = _lease()
    assert lease.expires_at > 0


def test_stack_is_found_by_name_by_system_or_because_it_is_the_only_one(
    workspace: Workspace, docker: FakeClient, pulumi: FakePulumi, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert lifecycle.find_stack(workspace, "shop-x", None) == "shop-x"
    assert (
        lifecycle.find_stack(workspace, "shop", "Fix")
        == lifecycle.plan(workspace, Request(system="shop", branch="Fix"))[0]
    )
    with pytest.raises(InputError, match="start one with"):
        lifecycle.find_stack(workspace, None, None)
    _up(workspace)
    assert lifecycle.find_stack(workspace, None, None) == "shop-main"
    _up(workspace, branch="other")
    monkeypatch.setenv("EPHEMERA_BRANCH", "third")
    with pytest.raises(InputError, match=r"none of .* is of branch 'third': name one: shop-main, shop-other"):
        lifecycle.find_stack(workspace, None, None)
    monkeypatch.setenv("EPHEMERA_BRANCH", "main")
    assert lifecycle.find_stack(workspace, None, None) == "shop-main"
    assert lifecycle.find_stack(workspace, None, "other") == "shop-other"
    with pytest.raises(UnknownNameError):
        lifecycle.find_stack(workspace, "nope", None)


def test_environment_of_another_system_is_told_apart() -> None:
    found = EnvironmentOutputs(stack="netra-main", system="netra", branch="main", services={})
    assert "is of system 'netra', the suite is of 'shop'" in str(lifecycle.wrong_system(found, "shop"))
