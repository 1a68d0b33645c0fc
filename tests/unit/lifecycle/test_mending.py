from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from ephemera.home import identity, leases
from ephemera.lifecycle import mending
from ephemera.model import labels
from ephemera.model.errors import InputError
from ephemera.pulumi import engine, state
from ephemera.pulumi.workspace import Workspace
from tests.unit.doubles import FakeClient, lease_of, marks

_STACK = "shop-main"
_NETWORK = {"NetworkID": f"{_STACK}-id", "Aliases": None}


class World:
    """A stack with a store that has its data in a volume, a cache that has none, a one-shot that has prepared both,
    and an API, all as the state says it."""

    def __init__(self, workspace: Workspace, docker: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
        self.workspace = workspace
        self.api = docker.api
        self.refreshed: list[str] = []
        self.disowned: list[list[str]] = []
        self.reported: list[str] = []
        self.resources: list[dict[str, Any]] = []
        self._state("network", state.NETWORK, _STACK)
        self._state("data", state.VOLUME, f"{_STACK}-data", id=f"{_STACK}-data")
        self._state("image", state.IMAGE, "shop/api:1", id="sha256:1shop/api:1", imageId="sha256:shop/api:1")
        self._container("store", ["data"], volumes=[{"volumeName": f"{_STACK}-data"}, {"hostPath": "/srv"}])
        self._container("cache")
        self._container("setup", ["store", "cache"], mustRun=False)
        self._container("api", ["setup", "image"], destroyGraceSeconds=3)
        own = marks(_STACK, identity.backend_id())
        self.api.add("network", _STACK, own)
        self.api.add("volume", f"{_STACK}-data", own)
        self.api.images["shop/api:1"] = "1000"
        self.stopped: list[str] = []
        monkeypatch.setattr(engine, "run", self._run)
        self.api.stop = lambda container, **_: self.stopped.append(container)  # type: ignore[attr-defined]

    def _state(self, name: str, kind: str, named: str, **fields: Any) -> dict[str, Any]:
        outputs = {"name": named, "imageId": fields.pop("imageId", "")}
        resource = {"urn": f"urn::{name}", "type": kind, "custom": True, "id": f"{named}-id", "outputs": outputs}
        self.resources.append({**resource, "inputs": {"name": named}, **fields})
        return self.resources[-1]

    def _container(self, name: str, needs: Sequence[str] = (), **inputs: Any) -> None:
        dependencies = [f"urn::{need}" for need in ("network", *needs)]
        resource = self._state(name, state.CONTAINER, f"{_STACK}-{name}", dependencies=dependencies)
        resource["inputs"] |= {"networksAdvanced": [{"name": _STACK, "aliases": [name]}], **inputs}
        whose = marks(_STACK, identity.backend_id(), name)
        self.api.add("container", f"{_STACK}-{name}", whose)
        done = {"Status": "exited", "Running": False, "ExitCode": 0}
        up = {"Status": "running", "Running": True, "ExitCode": 0}
        networks = {_STACK: {**_NETWORK, "Aliases": [name, "0123456789ab"]}}
        self.api.documents[f"{_STACK}-{name}-id"] = {
            "State": done if name == "setup" else up,
            "NetworkSettings": {"Networks": networks},
        }

    def remove(self, name: str) -> None:
        """As by hand."""
        del self.api.documents[f"{_STACK}-{name}-id"]
        self.api.listed_containers[:] = [
            item for item in self.api.listed_containers if item["Names"] != [f"/{_STACK}-{name}"]
        ]

    def change(self, name: str, **parts: Any) -> None:
        document = self.api.documents[f"{_STACK}-{name}-id"]
        for key, value in parts.items():
            document[key] = {**document[key], **value} if isinstance(value, dict) else value

    def mend(self) -> set[str]:
        """Names of the resources that were refreshed."""
        path = self.workspace.state_file(_STACK)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"checkpoint": {"latest": {"resources": self.resources}}}))
        mending.mend(self.workspace, _STACK, lambda event: self.reported.append(event["message"]))
        return set(self.refreshed)

    def _run(self, _workspace: Workspace, stack: str, arguments: Sequence[str]) -> str:
        assert stack == _STACK
        if arguments[0] == "state":
            self.disowned.append(list(arguments))
            return ""
        assert arguments[:4] == ["refresh", "--yes", "--skip-preview", "--clear-pending-creates"]
        assert set(arguments[4::2]) == {"--target"}
        self.refreshed = [urn.removeprefix("urn::") for urn in arguments[5::2]]
        return ""


@pytest.fixture
def world(workspace: Workspace, docker: FakeClient, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(workspace, docker, monkeypatch)


def test_nothing_is_asked_of_the_engine_where_nothing_is_missing(world: World) -> None:
    assert world.mend() == set()
    assert (world.api.removed, world.reported) == ([], [])


def test_container_that_is_gone_is_dropped_from_the_state_alone(world: World) -> None:
    world.remove("api")
    assert world.mend() == {"api"}
    assert world.api.removed == []
    assert world.reported == ["container shop-main-api will be made again"]


def test_network_that_is_gone_takes_the_containers_in_it_along_but_not_what_is_done(world: World) -> None:
    world.api.listed_networks.clear()
    world._container("raw")  # one that is in no network of the state's
    world.resources[-1]["inputs"]["networksAdvanced"] = []
    world.change("raw", NetworkSettings={"Networks": {"bridge": {"NetworkID": "b", "Aliases": None}}})
    world.change("cache", State={"Status": "exited", "Running": False, "ExitCode": 255})
    found = world.mend()
    assert {"network", "store", "api"} <= found
    assert "raw" not in found
    assert set(world.api.removed) >= {"shop-main-store", "shop-main-api"}
    assert world.stopped == ["shop-main-api-id"], "which is given the time to stop that it wants"


@pytest.mark.parametrize(
    "networks",
    [
        {},
        {"bridge": {"NetworkID": "b", "Aliases": None}},
        {_STACK: {"NetworkID": "another", "Aliases": ["api"]}},
        {_STACK: {"NetworkID": f"{_STACK}-id", "Aliases": None}},
    ],
    ids=["disconnected", "elsewhere", "in one of before", "under no name"],
)
def test_container_that_is_not_reached_in_its_network_is_made_again(world: World, networks: dict[str, Any]) -> None:
    world.change("api", NetworkSettings={"Networks": networks})
    assert world.mend() == {"api"}
    assert world.api.removed == ["shop-main-api"]


@pytest.mark.parametrize(("status", "lost"), [("dead", {"api"}), ("created", set()), ("paused", set())])
def test_container_is_left_if_it_can_go_on(world: World, status: str, lost: set[str]) -> None:
    networks = {_STACK: {"NetworkID": "" if status == "created" else f"{_STACK}-id", "Aliases": ["api"]}}
    world.change("api", State={"Status": status, "Running": False}, NetworkSettings={"Networks": networks})
    assert world.mend() == lost


def test_container_that_was_renamed_gets_its_name_back(world: World) -> None:
    world.change("api", Name="/mine")
    assert world.mend() == set()
    assert world.api.renamed == [("shop-main-api-id", "shop-main-api")]


def test_one_shot_is_not_run_again_while_the_data_that_it_made_is_left(world: World) -> None:
    world.remove("store")
    assert world.mend() == {"store"}


@pytest.mark.parametrize("lost", [{"cache"}, {"store", "data"}])
def test_one_shot_is_run_again_when_the_data_that_it_made_is_gone(world: World, lost: set[str]) -> None:
    for name in lost - {"data"}:
        world.remove(name)
    if "data" in lost:
        world.api.listed_volumes.clear()
    assert world.mend() == {*lost, "setup"}
    assert world.api.removed == ["shop-main-setup"]


@pytest.mark.parametrize("lost", [True, False])
def test_seed_is_to_be_put_in_again_when_a_volume_is_gone(world: World, lost: bool) -> None:
    leases.write(lease_of(_STACK, seeded=True))
    if lost:
        world.api.listed_volumes.clear()
    else:
        world.remove("store")
    world.mend()
    lease = leases.read(_STACK)
    assert lease is not None
    assert lease.seeded is not lost


@pytest.mark.parametrize("image", ["gone", "made anew"])
def test_image_that_is_not_the_one_any_more_is_dropped(world: World, image: str) -> None:
    if image == "gone":
        world.api.images.clear()
    else:
        world.resources[2]["outputs"]["imageId"] = "sha256:before"
    assert world.mend() == {"image"}


def test_stack_that_an_engine_is_at_work_on_is_left(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.remove("api")
    monkeypatch.setattr(Workspace, "locks", lambda *_: ["a lock"])
    assert world.mend() == set()


def test_volume_that_has_been_made_by_hand_under_the_name_of_a_lost_one_is_left(
    world: World, docker: FakeClient
) -> None:
    """Pulumi, which knows it by its name, would delete it with the environment, or when the program drops it."""
    volume = next(each for each in world.resources if each["type"] == state.VOLUME)
    volume["inputs"]["labels"] = [{"label": labels.BACKEND, "value": identity.backend_id()}]
    docker.api.listed_volumes[0]["Labels"] = {"com.docker.compose.project": "till"}
    world.mend()
    assert world.disowned == [["state", "delete", "urn::data", "--yes", "--force", "--target-dependents"]]
    assert "volume shop-main-data is not this environment's any more: it is left" in world.reported[0]
    assert docker.api.listed_volumes


def test_environment_of_an_earlier_version_is_refused(world: World) -> None:
    chain = "ephemera:index:Environment$ephemera:index:Postgres$ephemera:index:Container::store"
    world.resources.append({"urn": f"urn:pulumi:{_STACK}::demo::{chain}", "type": "ephemera:index:Container"})
    with pytest.raises(InputError, match=rf"made by an earlier version.*`ephemera down {_STACK}`"):
        world.mend()
    assert world.refreshed == []


def test_container_in_a_component_of_ones_own_is_of_this_version(world: World) -> None:
    chain = "ephemera:index:Environment$shop:index:Store$ephemera:index:Container::store"
    world.resources.append({"urn": f"urn:pulumi:{_STACK}::demo::{chain}", "type": "ephemera:index:Container"})
    assert world.mend() == set()
