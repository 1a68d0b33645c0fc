from __future__ import annotations

import json

import pytest

from ephemera import lifecycle
from ephemera.docker import connection
from ephemera.home import identity, leases
from ephemera.lifecycle import listing, placement, reaper, removal, resetting
from ephemera.model.errors import InputError, MachineError, OtherEngineError
from ephemera.model.outputs import EnvironmentOutputs
from ephemera.pulumi.workspace import Workspace
from tests.unit.doubles import FakeClient, lease_of, marks

_STACK = "shop-main"
_URL = "ssh://build-box"


@pytest.fixture
def elsewhere(workspace: Workspace, docker: FakeClient) -> str:
    """The id of the engine in use; the environment is on another one."""
    docker.told = {"ID": "HERE"}
    leases.write(
        lease_of(
            holder=None, phase="kept", expires_at=1.0, docker="THERE", docker_url=_URL, checkout=str(workspace.project)
        )
    )
    path = workspace.state_file(_STACK)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"checkpoint": {"latest": {"resources": []}}}))
    return "HERE"


def test_down_on_another_engine_refuses_and_forgets_nothing(workspace: Workspace, elsewhere: str) -> None:
    with pytest.raises(OtherEngineError, match=rf"on another Docker engine \({_URL}\).*set DOCKER_HOST={_URL}"):
        lifecycle.down(workspace, _STACK)
    with pytest.raises(OtherEngineError):
        lifecycle.hand_over(workspace, _STACK)
    assert workspace.exists(_STACK)
    assert leases.read(_STACK) is not None


def test_guardian_and_reaper_take_nothing_down_there(workspace: Workspace, elsewhere: str) -> None:
    assert reaper.due() == []
    with pytest.raises(OtherEngineError):
        removal.discard(workspace, _STACK)
    leases.change(_STACK, docker="HERE")
    assert [(lease.stack, why) for lease, why in reaper.due()] == [(_STACK, "expired")]


def test_list_names_the_engine(workspace: Workspace, elsewhere: str) -> None:
    (found,) = listing.environments(workspace)
    assert (found.stack, found.state, found.docker_url, found.endpoints) == (_STACK, "elsewhere", _URL, ())


def test_what_another_engine_holds_can_be_forgotten_and_nothing_else(
    workspace: Workspace, docker: FakeClient, elsewhere: str
) -> None:
    docker.api.add("container", f"{_STACK}-db", marks(_STACK, identity.backend_id(), "db"))
    lifecycle.forget(workspace, _STACK)
    assert docker.api.removed == []
    assert not workspace.exists(_STACK)
    assert leases.read(_STACK) is None
    leases.write(lease_of(holder=None, phase="kept", docker="HERE"))
    with pytest.raises(InputError, match="is on the Docker engine in use: `ephemera down shop-main` destroys it"):
        lifecycle.forget(workspace, _STACK)
    assert leases.read(_STACK) is not None


def test_what_an_engine_held_that_does_not_answer_any_more_can_be_forgotten(
    workspace: Workspace, elsewhere: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    leases.change(_STACK, docker="HERE")

    def silent() -> None:
        raise MachineError("no Docker engine answers")

    monkeypatch.setattr(connection, "connect", silent)
    with pytest.raises(MachineError, match="no Docker engine answers"):
        lifecycle.forget(workspace, "shop-unknown")
    lifecycle.forget(workspace, _STACK)
    assert not workspace.exists(_STACK)
    assert leases.read(_STACK) is None


def test_client_is_given_of_the_engine_that_it_is_on_alone(
    workspace: Workspace, docker: FakeClient, elsewhere: str
) -> None:
    with pytest.raises(OtherEngineError), placement.connected(workspace, _STACK):
        pass
    assert docker.closed
    leases.change(_STACK, docker="HERE")
    with placement.connected(workspace, _STACK) as client:
        assert client is docker


def test_data_is_not_looked_for_on_another_engine(workspace: Workspace, elsewhere: str) -> None:
    outputs = EnvironmentOutputs(stack=_STACK, system="shop", branch="main", services={})
    with pytest.raises(OtherEngineError):
        resetting.reset(workspace, outputs)
    with pytest.raises(OtherEngineError):
        resetting.remember(workspace, outputs)


def test_state_tells_the_engine_of_a_stack_without_a_lease(
    workspace: Workspace, docker: FakeClient, elsewhere: str
) -> None:
    leases.remove(_STACK)
    environment = {"urn": "u", "type": "ephemera:index:Environment", "outputs": {"docker": "THERE"}}
    workspace.state_file(_STACK).write_text(json.dumps({"checkpoint": {"latest": {"resources": [environment]}}}))
    assert placement.recorded(workspace, _STACK) == ("THERE", "")
    with pytest.raises(OtherEngineError, match="on another Docker engine than the one at"):
        lifecycle.down(workspace, _STACK)


@pytest.mark.parametrize("known", ["", "HERE"])
def test_environment_here_or_of_an_earlier_version_is_judged(
    workspace: Workspace, docker: FakeClient, elsewhere: str, known: str
) -> None:
    leases.change(_STACK, docker=known)
    assert placement.refuse_other_engine(workspace, docker, _STACK) == elsewhere
