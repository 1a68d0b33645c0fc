"""`up` without the engine: when nothing has changed, and when a pool has what is wanted."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ephemera import lifecycle
from ephemera.home import identity, leases
from ephemera.host.processes import ProcessId
from ephemera.lifecycle import Request, bring_up, pool
from ephemera.lifecycle.listing import environments
from ephemera.model.outputs import Endpoint, EnvironmentOutputs, ServiceOutputs
from ephemera.pulumi import engine, known
from ephemera.pulumi.workspace import Workspace
from tests.unit.doubles import IDENTITY, FakeClient, marks

_STACK = "shop-main"
_POOLED = "shop--aaaaaa"


class EngineRanError(Exception):
    """The long way was taken."""


@pytest.fixture(autouse=True)
def _no_engine(docker: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise EngineRanError

    monkeypatch.setattr(bring_up, "_refuse_taken", refused)  # the first thing on the long way
    monkeypatch.setattr(pool, "start_if_due", lambda: None)


def _outputs(stack: str, branch: str = "main") -> EnvironmentOutputs:
    return EnvironmentOutputs(stack=stack, system="shop", branch=branch, services={})


@pytest.fixture
def unchanged(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment of the branch that is ready as it is."""
    _give_state(workspace, _STACK)
    leases.first_seen(_STACK, "demo", str(workspace.project), IDENTITY)
    monkeypatch.setattr(bring_up, "unchanged", lambda _, stack, *__: _outputs(stack))


@pytest.fixture
def pooled(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> str:
    """An environment of the pool, which is given to whoever asks."""
    _give_state(workspace, _POOLED)
    lease = leases.first_seen(_POOLED, "demo", str(workspace.project), replace(IDENTITY, branch="pool"))
    leases.write(replace(lease, phase="pooled"))

    def claim(_: Workspace, __: Any, settings: Any, phase: Any) -> EnvironmentOutputs:
        leases.change(_POOLED, phase=phase, branch=settings.branch, claimed=phase == "kept")
        return _outputs(_POOLED, settings.branch)

    monkeypatch.setattr(pool, "claim", claim)
    return _POOLED


def _give_state(workspace: Workspace, stack: str) -> None:
    path = workspace.state_file(stack)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({}))


def _up(workspace: Workspace, **given: Any) -> lifecycle.Ready:
    return lifecycle.up(workspace, Request(**{"system": "shop", "branch": "main", **given}), lambda _: None)


@pytest.mark.usefixtures("unchanged")
def test_unchanged_environment_is_answered_without_an_engine_and_used(workspace: Workspace) -> None:
    leases.change(_STACK, expires_at=1.0)
    ready = _up(workspace)
    assert (ready.outputs.stack, ready.created, ready.unchanged) == (_STACK, False, True)
    lease = leases.read(_STACK)
    assert lease is not None
    assert lease.expires_at > time.time()


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    "spoil",
    [
        lambda: leases.change(_STACK, phase="creating"),
        lambda: leases.change(_STACK, phase="destroying"),
        lambda: leases.change(_STACK, phase="disposable", holder=ProcessId.of()),
        lambda: leases.change(_STACK, holder=ProcessId.of()),
        lambda: leases.change(_STACK, checkout="/elsewhere"),
        lambda: leases.remove(_STACK),
    ],
)
def test_environment_that_is_nobodys_own_takes_the_long_way(workspace: Workspace, spoil: Callable[[], Any]) -> None:
    spoil()
    with pytest.raises(EngineRanError):
        _up(workspace)


@pytest.mark.usefixtures("unchanged")
def test_forced_one_takes_the_long_way(workspace: Workspace) -> None:
    with pytest.raises(EngineRanError):
        _up(workspace, force=True)


def test_branch_without_an_environment_claims_one_and_has_it_from_then_on(
    workspace: Workspace, pooled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert lifecycle.find_stack(workspace, "shop", "main") == _STACK
    ready = _up(workspace)
    assert (ready.outputs.stack, ready.created, ready.claimed) == (pooled, True, True)
    for name in ("shop", _STACK, pooled):
        assert lifecycle.find_stack(workspace, name, "main") == pooled
    assert lifecycle.find_stack(workspace, None, None) == pooled
    assert lifecycle.find_stack(workspace, "shop", "other") == "shop-other"
    assert lifecycle.plan(workspace, Request(system="shop", branch="main"))[0] == pooled
    assert lifecycle.plan(workspace, Request(system="shop", branch="main", suffix="abc123"))[0] == "shop-main-abc123"
    monkeypatch.setattr(engine, "outputs", lambda _, stack: _outputs(stack, "pool"))
    assert lifecycle.outputs(workspace, pooled).branch == "main", "the program knows but that it is a pool's"
    monkeypatch.setattr(bring_up, "unchanged", lambda _, stack, *__: _outputs(stack, "pool"))
    assert _up(workspace).outputs == _outputs(pooled, "main")


def test_run_claims_one_for_itself(workspace: Workspace, pooled: str) -> None:
    ready = _up(workspace, suffix="abc123", phase="disposable")
    assert ready.claimed
    assert lifecycle.find_stack(workspace, "shop", "main") == _STACK


@pytest.mark.usefixtures("pooled")
@pytest.mark.parametrize("given", [{"force": True}, {"phase": "pooled", "stack": "shop--bbbbbb"}])
def test_who_wants_a_new_one_claims_none(workspace: Workspace, given: dict[str, Any]) -> None:
    with pytest.raises(EngineRanError):
        _up(workspace, **given)


@pytest.mark.usefixtures("pooled")
def test_branch_with_an_environment_or_config_of_its_own_claims_none(workspace: Workspace) -> None:
    workspace.write_config(_STACK, {"expose": "none"})
    with pytest.raises(EngineRanError):
        _up(workspace)
    workspace.config_file(_STACK).unlink()
    _give_state(workspace, _STACK)
    with pytest.raises(EngineRanError):
        _up(workspace)


def test_branchs_own_stack_wins_over_one_that_it_claimed(workspace: Workspace, pooled: str) -> None:
    _up(workspace)
    _give_state(workspace, _STACK)
    assert lifecycle.find_stack(workspace, "shop", "main") == _STACK


def test_who_waited_while_the_branch_claimed_one_goes_on_with_that(
    workspace: Workspace, pooled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = lifecycle.plan
    planned: list[str] = []

    def late(*arguments: Any) -> Any:
        found = plan(*arguments)
        planned.append(found[0])
        if len(planned) == 1:  # another command is faster
            leases.change(pooled, phase="kept", branch="main", claimed=True)
        return found

    monkeypatch.setattr(bring_up, "plan", late)
    monkeypatch.setattr(bring_up, "unchanged", lambda _, stack, *__: _outputs(stack, "pool"))
    assert _up(workspace).outputs == _outputs(pooled, "main")
    assert planned == [_STACK, pooled, pooled]


def test_what_waits_in_a_pool_is_nobodys_and_listed_as_such(
    workspace: Workspace, docker: FakeClient, pooled: str
) -> None:
    docker.api.add("container", f"{pooled}-db", marks(pooled, identity.backend_id(), "db"))
    assert lifecycle.alive(workspace) == []
    assert [(listed.stack, listed.branch, listed.state) for listed in environments(workspace)] == [
        (pooled, "pool", "pooled")
    ]
    _up(workspace)
    assert lifecycle.alive(workspace) == [pooled]
    assert [(listed.branch, listed.state) for listed in environments(workspace)] == [("main", "running")]


def test_probe_is_put_to_the_published_endpoint_or_to_the_container(client: FakeClient) -> None:
    from http.server import BaseHTTPRequestHandler, HTTPServer
    from threading import Thread

    class Fine(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Fine) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        inside = {"scheme": "http", "internal_host": "web", "internal_port": 80, "internal_url": "http://web:80"}
        endpoint = Endpoint(host="127.0.0.1", port=server.server_port, url="http://here", **inside)
        web = ServiceOutputs(container="c", image="i", endpoints={"http": endpoint}, readiness={"type": "http"})
        assert known._answers(client, _STACK, "web", web)
        server.shutdown()
    assert not known._answers(client, _STACK, "web", web)
    job = ServiceOutputs(container="c", image="i", readiness={"type": "exit_zero"})
    assert known._answers(client, _STACK, "job", job), "its container is as it was when it had ended well"
