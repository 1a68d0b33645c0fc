from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from docker.errors import APIError, NotFound

from ephemera import images, lifecycle
from ephemera.home import identity, leases
from ephemera.host.processes import ProcessId
from ephemera.lifecycle import guardian, holding, removal
from ephemera.lifecycle.removal import Found
from ephemera.lifecycle.take_down import clean_up_after
from ephemera.model.errors import EngineError, NoSuchEnvironmentError
from ephemera.pulumi import engine
from ephemera.pulumi.workspace import Workspace
from tests.unit.doubles import IDENTITY, FakeClient, engine_lock, marks, refusal

_STACK = IDENTITY.stack
_CONTAINER = "docker:index/container:Container"
_NETWORK = "docker:index/network:Network"
_VOLUME = "docker:index/volume:Volume"
_IMAGE = "docker:index/remoteImage:RemoteImage"


def _resource(kind: str, name: str, **fields: Any) -> dict[str, Any]:
    return {"urn": f"urn:{name}", "type": kind, "custom": True, "id": f"{name}-id", "outputs": {"name": name}, **fields}


def _usual() -> list[dict[str, Any]]:
    """What every stack of ours is made of."""
    return [
        {"urn": "urn:stack", "type": "pulumi:pulumi:Stack", "custom": False},
        {"urn": "urn:component", "type": "ephemera:index:Container", "custom": False},
        {"urn": "urn:provider", "type": "pulumi:providers:docker", "custom": True, "inputs": {"version": "5.2.0"}},
        _resource(_IMAGE, "postgres", inputs={"keepLocally": True}),
        _resource(_NETWORK, _STACK),
        _resource(_VOLUME, f"{_STACK}-data"),
        _resource(_CONTAINER, f"{_STACK}-db", inputs={}),
        _resource(_CONTAINER, f"{_STACK}-api", inputs={"destroyGraceSeconds": 7}),
    ]


@pytest.fixture
def made(workspace: Workspace, docker: FakeClient) -> FakeClient:
    """The stack, as its state and the Docker engine know it."""
    mine = identity.backend_id()
    docker.api.add("network", _STACK, marks(_STACK, mine))
    docker.api.add("volume", f"{_STACK}-data", marks(_STACK, mine))
    for name in ("db", "api"):
        docker.api.add("container", f"{_STACK}-{name}", marks(_STACK, mine, name))
    _record(workspace, _usual())
    return docker


def _record(workspace: Workspace, resources: list[dict[str, Any]]) -> None:
    path = workspace.state_file(_STACK)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"checkpoint": {"latest": {"resources": resources}}}))


def _covered(docker: FakeClient, resources: list[dict[str, Any]]) -> bool:
    client: Any = docker
    return removal.covered(client, resources, removal.find(client, _STACK))


def _everything(docker: FakeClient) -> set[str]:
    api = docker.api
    names = {item["Name"] for item in (*api.listed_networks, *api.listed_volumes)}
    return names | {item["Names"][0].lstrip("/") for item in api.listed_containers}


# What labels cover, and what they do not.


def test_stack_of_ours_is_covered(made: FakeClient) -> None:
    assert _covered(made, _usual())


@pytest.mark.parametrize(
    ("kind", "name"), [(_NETWORK, "gone-network"), (_VOLUME, "gone-volume"), (_CONTAINER, "gone-container")]
)
def test_object_that_is_gone_already_needs_nobody(made: FakeClient, kind: str, name: str) -> None:
    assert _covered(made, [*_usual(), _resource(kind, name)])


@pytest.mark.parametrize(
    "resource",
    [
        _resource("aws:s3/bucket:Bucket", "bucket"),
        _resource("command:local:Command", "script"),
        {"urn": "urn:other", "type": "pulumi:providers:aws", "custom": True, "inputs": {}},
        _resource(_CONTAINER, f"{_STACK}-db", protect=True),
        {"urn": "urn:component", "type": "ephemera:index:Container", "custom": False, "protect": True},
        _resource(_VOLUME, f"{_STACK}-data", retainOnDelete=True),
        _resource(_NETWORK, _STACK, external=True),
        _resource(_CONTAINER, f"{_STACK}-db", resourceHooks={"beforeDelete": ["dump"]}),
        _resource(_IMAGE, "redis", inputs={"keepLocally": False}),
        _resource(_IMAGE, "redis", inputs={}),
        _resource("docker:index/image:Image", "built"),
        _resource("docker:index/tag:Tag", "tagged"),
        _resource("docker:index/service:Service", "swarm"),
        _resource("docker:index/secret:Secret", "swarm"),
        {"urn": "urn:far", "type": "pulumi:providers:docker", "custom": True, "inputs": {"host": "ssh://far"}},
        {"urn": "urn:far", "type": "pulumi:providers:docker", "custom": True, "inputs": {"context": "far"}},
        _resource(_CONTAINER, "", outputs={"name": {"4dabf18193072939515e22adb298388d": "", "ciphertext": "v1:x"}}),
        _resource(_CONTAINER, "", outputs=None),
    ],
    ids=lambda resource: " ".join([resource["type"].rpartition(":")[2], *list(resource)[3:]]),
)
def test_what_is_not_plainly_covered_is_the_engines(made: FakeClient, resource: dict[str, Any]) -> None:
    assert not _covered(made, [*_usual(), resource])


def test_object_that_is_there_without_the_label_is_the_engines(made: FakeClient) -> None:
    made.api.add("network", "plain", {})
    made.api.add("volume", "plain", marks(_STACK, "another"))
    made.api.run("plain")
    for kind in (_NETWORK, _VOLUME, _CONTAINER):
        assert not _covered(made, [*_usual(), _resource(kind, "plain")])


def test_engine_that_does_not_answer_is_not_taken_for_objects_that_are_gone(
    made: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def inspect(_: str) -> Any:
        raise refusal(500)

    monkeypatch.setattr(made.api, "inspect_volume", inspect)
    with pytest.raises(APIError):
        _covered(made, [*_usual(), _resource(_VOLUME, "elsewhere")])


def test_what_is_in_no_state_is_named(made: FakeClient) -> None:
    client: Any = made
    made.api.add("volume", "stray", marks(_STACK, identity.backend_id()))
    made.api.add("network", f"{_STACK}-data", marks(_STACK, identity.backend_id()))  # a namesake of another kind
    assert removal.unknown(_usual(), removal.find(client, _STACK)) == [
        Found(kind="volume", name="stray", stack=_STACK),
        Found(kind="network", name=f"{_STACK}-data", stack=_STACK),
    ]


# Removing.


def test_containers_that_are_given_time_have_had_it_before_anything_is_removed(
    made: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client: Any = made
    both = threading.Barrier(2, timeout=20)
    stopped: list[tuple[str, int, list[str]]] = []

    def stop(container: str, *, timeout: int) -> None:
        both.wait()  # side by side
        stopped.append((container, timeout, list(made.api.removed)))

    monkeypatch.setattr(made.api, "stop", stop, raising=False)
    patient = _resource(_CONTAINER, f"{_STACK}-worker", inputs={"destroyGraceSeconds": 2.0})
    removal.remove(client, _STACK, resources=[*_usual(), patient])
    assert sorted(stopped) == [(f"{_STACK}-api-id", 7, []), (f"{_STACK}-worker-id", 2, [])]
    assert _everything(made) == set()


@pytest.mark.parametrize("answer", [NotFound("gone"), refusal(409)])
def test_container_that_is_going_anyway_is_not_stopped(
    made: FakeClient, monkeypatch: pytest.MonkeyPatch, answer: Exception
) -> None:
    client: Any = made

    def stop(container: str, *, timeout: int) -> None:
        raise answer

    monkeypatch.setattr(made.api, "stop", stop, raising=False)
    removal.remove(client, _STACK, resources=_usual())
    assert _everything(made) == set()


def test_container_that_cannot_be_stopped_is_an_error(made: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    client: Any = made

    def stop(container: str, *, timeout: int) -> None:
        raise refusal(500)

    monkeypatch.setattr(made.api, "stop", stop, raising=False)
    with pytest.raises(APIError):
        removal.remove(client, _STACK, resources=_usual())
    assert made.api.removed == []


def test_others_objects_stay(made: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    client: Any = made
    monkeypatch.setattr(made.api, "stop", lambda container, *, timeout: None, raising=False)
    made.api.add("volume", "theirs", marks(_STACK, "another"))
    made.api.add("volume", "shop-other-data", marks("shop-other", identity.backend_id()))
    removal.remove(client, _STACK, resources=_usual())
    assert _everything(made) == {"theirs", "shop-other-data"}


# Which way `down` goes.


class Pulumi:
    """Stands for the engine and for guardians; writes down what is asked of it."""

    def __init__(self, docker: FakeClient, workspace: Workspace) -> None:
        self.calls: list[str] = []
        self._docker = docker
        self._workspace = workspace

    def destroy(self, _: Workspace, stack: str) -> None:
        self.calls.append("destroy")
        for items in (
            self._docker.api.listed_containers,
            self._docker.api.listed_networks,
            self._docker.api.listed_volumes,
        ):
            items.clear()
        self._workspace.state_file(stack).unlink()

    def guard(self, _: Path, stack: str, record: Callable[[ProcessId], object]) -> None:
        self.calls.append("guard")
        record(ProcessId.of_started(2**22 - 1))


@pytest.fixture
def pulumi(made: FakeClient, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Pulumi:
    fake = Pulumi(made, workspace)
    monkeypatch.setattr(engine, "destroy", fake.destroy)
    monkeypatch.setattr(holding, "keep", fake.guard)
    monkeypatch.setattr(made.api, "stop", lambda container, *, timeout: fake.calls.append("stop"), raising=False)
    monkeypatch.setattr(images, "drop_abandoned", list)
    return fake


def _lock(workspace: Workspace) -> None:
    engine_lock(workspace, _STACK, hostname="elsewhere")


def test_covered_stack_goes_without_the_engine(workspace: Workspace, made: FakeClient, pulumi: Pulumi) -> None:
    gone = lifecycle.down(workspace, _STACK)
    assert gone.leftovers == ()
    assert pulumi.calls == ["guard", "stop"]
    assert _everything(made) == set()
    assert not workspace.exists(_STACK)
    assert leases.read(_STACK) is None


def test_what_somebody_else_had_made_in_it_is_told_as_left_over(
    workspace: Workspace, made: FakeClient, pulumi: Pulumi
) -> None:
    made.api.add("volume", "stray", marks(_STACK, identity.backend_id()))
    assert lifecycle.down(workspace, _STACK).leftovers == ("volume stray",)
    assert _everything(made) == set()


def test_what_is_not_covered_goes_through_the_engine(workspace: Workspace, made: FakeClient, pulumi: Pulumi) -> None:
    _record(workspace, [*_usual(), _resource("aws:s3/bucket:Bucket", "bucket")])
    assert lifecycle.down(workspace, _STACK).leftovers == ()
    assert pulumi.calls == ["guard", "destroy"]


def test_stack_that_an_engine_is_at_work_on_is_the_engines(
    workspace: Workspace, made: FakeClient, pulumi: Pulumi
) -> None:
    _lock(workspace)
    lifecycle.down(workspace, _STACK)
    assert pulumi.calls == ["guard", "destroy"], "which says what it is locked by"


# Handing it over.


def test_handed_over_environment_is_held_until_its_guardian_takes_over(
    workspace: Workspace, made: FakeClient, pulumi: Pulumi
) -> None:
    before = _everything(made)
    lifecycle.hand_over(workspace, _STACK)
    lease = leases.read(_STACK)
    assert lease is not None
    assert (lease.phase, lease.holder) == ("destroying", ProcessId.of())
    assert lease.guardian is not None
    assert _everything(made) == before, "nothing yet"
    assert pulumi.calls == ["guard"]


def test_guardian_destroys_what_was_handed_over_when_its_owner_has_ended(
    workspace: Workspace, made: FakeClient, pulumi: Pulumi
) -> None:
    lifecycle.hand_over(workspace, _STACK)
    dead = ProcessId.of_started(2**22 - 1)
    leases.change(_STACK, holder=dead)  # as if this process had ended
    assert guardian.main([str(workspace.project), _STACK, json.dumps(asdict(dead))]) == 0
    assert _everything(made) == set()
    assert not workspace.exists(_STACK)
    assert leases.read(_STACK) is None
    assert pulumi.calls == ["guard", "stop"], "politely, and without the engine"


def test_guardian_has_the_engine_destroy_what_labels_do_not_cover(
    workspace: Workspace, made: FakeClient, pulumi: Pulumi
) -> None:
    _record(workspace, [*_usual(), _resource(_IMAGE, "redis", inputs={"keepLocally": False})])
    lifecycle.hand_over(workspace, _STACK)
    lease = leases.read(_STACK)
    assert lease is not None
    leases.change(_STACK, holder=(dead := ProcessId.of_started(2**22 - 1)))
    clean_up_after(workspace, replace(lease, holder=dead))
    assert pulumi.calls == ["guard", "destroy"]
    assert leases.read(_STACK) is None


def test_guardian_goes_on_by_label_where_the_engine_cannot_destroy(
    workspace: Workspace, made: FakeClient, pulumi: Pulumi, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Workspace, stack: str) -> None:
        raise EngineError(f"cannot destroy {stack}")

    monkeypatch.setattr(engine, "destroy", fail)
    _record(workspace, [*_usual(), _resource(_IMAGE, "redis", inputs={"keepLocally": False})])
    lifecycle.hand_over(workspace, _STACK)
    lease = leases.change(_STACK, holder=ProcessId.of_started(2**22 - 1))
    assert lease is not None
    clean_up_after(workspace, lease)
    assert _everything(made) == set()
    assert leases.read(_STACK) is None
    assert not (workspace.project / ".ephemera").exists(), "nobody is there to look at evidence"


def test_crashed_creation_is_discarded_without_patience(workspace: Workspace, made: FakeClient, pulumi: Pulumi) -> None:
    removal.discard(workspace, _STACK)
    assert pulumi.calls == []
    assert _everything(made) == set()


def test_unknown_environment_is_not_handed_over(workspace: Workspace, docker: FakeClient) -> None:
    with pytest.raises(NoSuchEnvironmentError):
        lifecycle.hand_over(workspace, _STACK)
    assert leases.read(_STACK) is None


def test_environment_that_an_engine_is_at_work_on_is_not_handed_over(
    workspace: Workspace, made: FakeClient, pulumi: Pulumi
) -> None:
    _lock(workspace)
    with pytest.raises(EngineError, match="an engine is at work on it"):
        lifecycle.hand_over(workspace, _STACK)
    assert leases.read(_STACK) is None
    assert pulumi.calls == []


def test_second_down_waits_for_the_first(workspace: Workspace, made: FakeClient, pulumi: Pulumi) -> None:
    said: list[str] = []

    def second() -> None:
        try:
            lifecycle.down(workspace, _STACK)
        except NoSuchEnvironmentError as error:
            said.append(str(error))

    with leases.exclusive(_STACK):  # as whoever takes it down holds it
        waiting = threading.Thread(target=second)
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()
        removal.discard(workspace, _STACK)
    waiting.join(20)
    assert not waiting.is_alive()
    assert said
