"""What is remembered of an environment that is ready, and every way in which it may not be so any more."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from docker.errors import ImageNotFound

from ephemera.contract.errors import MachineError
from ephemera.contract.outputs import EnvironmentOutputs
from ephemera.contract.settings import Settings
from ephemera.driver import definition, engine, known
from ephemera.driver.workspace import Workspace
from ephemera.home import credentials, identity
from ephemera.home.paths import state_dir
from ephemera.host import engine as host_engine
from tests.unit.doubles import SHOP, FakeClient, marks

_STACK = "shop-main"
_SETTINGS = Settings(system="shop", branch="main", owner="me@here", images="local")
_IMAGE = "docker:index/remoteImage:RemoteImage"
_NETWORK = "docker:index/network:Network"


class World:
    """An environment that is ready: its state, what the engine holds of it, and what its program read."""

    def __init__(self, workspace: Workspace, docker: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
        self.workspace = workspace
        self.api = docker.api
        self.images = {"ephemera/shop:1": "sha256:1"}
        self.reads: dict[str, Any] | None = {
            "paths": [str(workspace.project)],
            "credentials": [["db", "password"]],
            "doubts": [],
        }
        image = {"type": _IMAGE, "urn": "a::image", "custom": True, "inputs": {"name": "ephemera/shop:1"}}
        self.resources: list[dict[str, Any]] = [{"type": _NETWORK, "urn": "a::network", "custom": True}, image]
        self.answering = True
        self.started = time.time_ns() + 10**9
        self.credentials = {"user": "shop", "password": credentials.credential(_STACK, "db", "password")}
        self.readiness: dict[str, Any] = {"type": "exec", "command": ["true"]}
        own = marks(_STACK, identity.backend_id(), "db")
        self.api.add("container", "shop-main-db", own)
        self.api.add("network", _STACK, own, Id="n1")
        self.api.add("volume", "shop-main-data", own, CreatedAt="today")
        self.life: dict[str, Any] = {"Status": "running", "Running": True, "StartedAt": "8:00", "ExitCode": 0}
        self.name = "/shop-main-db"
        self.networks = {_STACK: {"NetworkID": "n1", "Aliases": ["db"]}}
        monkeypatch.setattr(self.api, "inspect_container", self._inspect_container)
        monkeypatch.setattr(self.api, "inspect_image", self._inspect_image)
        monkeypatch.setattr(definition, "references", lambda *_: sorted(self.images))
        monkeypatch.setattr(known, "clock", SimpleNamespace(now_ns=lambda: self.started))
        monkeypatch.setattr(known, "_answers", lambda *_: self.answering)
        workspace.write_config(_STACK, _SETTINGS.to_config())
        self.write_state()

    @property
    def outputs(self) -> EnvironmentOutputs:
        service = {
            "container": "shop-main-db",
            "image": "sha256:1",
            "credentials": self.credentials,
            "readiness": self.readiness,
        }
        return EnvironmentOutputs.parse(
            {"stack": _STACK, "system": "shop", "branch": "main", "services": {"db": service}}
        )

    def write_state(self) -> None:
        path = self.workspace.state_file(_STACK)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"checkpoint": {"latest": {"resources": self.resources}}}))

    def remember(self, during: Callable[[], Any] = lambda: None) -> None:
        said: list[Any] = []
        with known.remembering(self.workspace, _STACK, SHOP, _SETTINGS, said.append) as (listener, ready):
            listener({"type": "notice", "message": "hello"})
            if self.reads is not None:
                listener({"type": "reads", **self.reads})
            during()
            ready(self.outputs)
        assert said == [{"type": "notice", "message": "hello"}]

    def unchanged(self) -> EnvironmentOutputs | None:
        return known.unchanged(self.workspace, _STACK, SHOP, _SETTINGS)

    def _inspect_container(self, container: str) -> dict[str, Any]:
        assert container.startswith("shop-main-")
        return {"State": dict(self.life), "Name": self.name, "NetworkSettings": {"Networks": self.networks}}

    def _inspect_image(self, reference: str) -> dict[str, Any]:
        if reference not in self.images:
            raise ImageNotFound("no such image")
        return {"Id": self.images[reference]}


@pytest.fixture
def world(workspace: Workspace, docker: FakeClient, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(workspace, docker, monkeypatch)


def _file() -> Path:
    return state_dir() / "known" / f"{_STACK}.json"


def test_environment_that_nobody_touched_is_unchanged_and_gives_its_outputs(world: World) -> None:
    assert world.unchanged() is None
    world.remember()
    assert known.doubt(_STACK) == ""
    assert world.unchanged() == world.outputs


def test_no_credential_is_in_the_file_which_is_for_the_user_alone(world: World) -> None:
    world.remember()
    assert world.credentials["password"] not in _file().read_text()
    assert _file().stat().st_mode & 0o777 == 0o600
    found = known.outputs(world.workspace, _STACK)
    assert found is not None
    assert found.services["db"].credentials["password"].get_secret_value() == world.credentials["password"]


@pytest.mark.parametrize(
    "change",
    [
        lambda world: world.life.update(StartedAt="9:00"),
        lambda world: world.life.update(Status="exited", Running=False, FinishedAt="9:00", ExitCode=137),
        lambda world: world.life.update(Status="paused"),
        lambda world: setattr(world, "name", "/renamed"),
        lambda world: world.networks.clear(),
        lambda world: world.networks[_STACK].update(NetworkID="n2"),
        lambda world: world.networks[_STACK].update(Aliases=None),
        lambda world: world.api.listed_containers.clear(),
        lambda world: world.api.listed_containers[0].update(Id="shop-main-another"),
        lambda world: world.api.add("container", "shop-main-x", marks(_STACK, identity.backend_id())),
        lambda world: world.api.listed_networks.clear(),
        lambda world: world.api.listed_networks[0].update(Id="n2"),
        lambda world: world.api.add("network", "more", marks(_STACK, identity.backend_id()), Id="n2"),
        lambda world: world.api.listed_volumes.clear(),
        lambda world: world.api.listed_volumes[0].update(CreatedAt="tomorrow"),
        lambda world: world.images.update({"ephemera/shop:1": "sha256:2"}),
        lambda world: world.images.update({"ephemera/other:1": "sha256:2"}),
        lambda world: world.images.pop("ephemera/shop:1"),
        lambda world: setattr(world, "answering", False),
        lambda world: world.write_state(),
        lambda world: world.workspace.state_file(_STACK).unlink(),
        lambda world: (world.workspace.project / "Pulumi.yaml").write_text("name: demo\n"),
        lambda _: os.environ.update(SHOP_SIZE="2"),
        lambda _: (state_dir() / "key").write_text("0" * 64),
        lambda _: _file().write_text("{"),
        lambda _: _file().write_text(json.dumps({"schema": 2, "known": {"state": []}})),
        lambda _: _file().write_text(_file().read_text().replace('"schema": 2', '"schema": 0')),
        lambda _: known.forget(_STACK),
    ],
)
def test_whatever_may_have_changed_is_for_the_engine_to_look_at(
    world: World, change: Callable[[World], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_SIZE", "1")
    world.remember()
    assert world.unchanged() is not None
    change(world)
    assert world.unchanged() is None


def test_engine_at_work_on_it_is_waited_for(world: World) -> None:
    world.remember()
    lock = world.workspace.state_file(_STACK).parents[2] / "locks" / "organization" / "demo" / _STACK / "a.json"
    lock.parent.mkdir(parents=True)
    lock.write_text("{}")
    assert world.unchanged() is None


def test_docker_that_does_not_answer_is_no_reason_to_fail_here(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent() -> None:
        raise MachineError("no Docker engine answers")

    world.remember()
    monkeypatch.setattr(host_engine, "connect", silent)
    assert world.unchanged() is None
    world.remember()
    assert known.doubt(_STACK) == "no Docker engine answers"


def _foreign(**fields: Any) -> Callable[[World], Any]:
    return lambda world: world.resources.append({"type": _NETWORK, "urn": "a::other", "custom": True, **fields})


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda world: setattr(world, "reads", None), "did not say what it read"),
        (lambda world: world.reads["doubts"].append("starts a process"), "the program starts a process"),
        (_foreign(type="aws:s3/bucket:Bucket"), "other is a resource"),
        (_foreign(type="docker:index/service:Service"), "other is a resource"),
        (_foreign(external=True), "other is a resource"),
        (_foreign(type=_IMAGE, inputs={"name": "ephemera/shop:1", "build": {"context": "."}}), "other is a"),
        (_foreign(type="pulumi:providers:docker", inputs={"host": "tcp://elsewhere"}), "other is a resource"),
        (lambda world: world.credentials.update(token="hunter2"), "a secret that is not generated"),
        (lambda world: world.credentials.update(user=f"u:{world.credentials['password']}"), "a secret that is"),
        (lambda world: world.readiness.update(type="MyProbe"), "db has a probe of its own"),
    ],
)
def test_what_cannot_be_known_for_sure_is_not_remembered(world: World, make: Callable[[World], Any], why: str) -> None:
    make(world)
    world.write_state()
    world.remember()
    assert why in known.doubt(_STACK)
    assert world.unchanged() is None
    assert known.outputs(world.workspace, _STACK) is None
    assert "hunter2" not in _file().read_text()


def test_config_that_is_written_while_the_engine_runs_is_not_known(world: World) -> None:
    path = world.workspace.config_file(_STACK)
    world.remember(lambda: path.write_text(path.read_text().replace("config:\n", "config:\n  aws:region: x\n")))
    assert "its config was written meanwhile" in known.doubt(_STACK)
    world.remember(lambda: path.write_text(path.read_text() + "encryptionsalt: v1:x\n"))
    assert known.doubt(_STACK) == ""


def test_image_whose_source_is_edited_while_the_engine_runs_is_not_known(world: World) -> None:
    world.remember(lambda: world.images.update({"ephemera/shop:2": world.images.pop("ephemera/shop:1")}))
    assert "ephemera/shop:1 is made from something else by now" in known.doubt(_STACK)


def test_file_that_is_written_while_the_engine_runs_is_not_known(world: World) -> None:
    world.started = time.time_ns()
    world.remember(lambda: (world.workspace.project / "Pulumi.yaml").write_text("name: demo\nruntime: python\n"))
    assert "a file of the project was written meanwhile" in known.doubt(_STACK)


def test_run_that_fails_leaves_nothing_known(world: World) -> None:
    world.remember()
    with pytest.raises(ZeroDivisionError), known.remembering(world.workspace, _STACK, SHOP, _SETTINGS, print):
        raise ZeroDivisionError
    assert known.read(_STACK) is None


def test_outputs_are_answered_without_the_engine_until_the_state_changes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def run(_: Workspace, stack: str, arguments: Any) -> str:
        asked.append(stack)
        return json.dumps({"environment": world.outputs.document(show_secrets=True)})

    monkeypatch.setattr(engine, "run", run)
    world.remember()
    world.life.update(Status="exited", Running=False, FinishedAt="9:00")  # which the outputs say nothing of
    assert engine.outputs(world.workspace, _STACK) == world.outputs
    assert asked == []
    world.write_state()
    assert engine.outputs(world.workspace, _STACK) == world.outputs
    assert asked == [_STACK]


def test_credentials_are_not_derived_from_another_key(world: World) -> None:
    world.remember()
    (state_dir() / "key").write_text("0" * 64)
    assert known.outputs(world.workspace, _STACK) is None
