"""What is remembered of an environment that is ready, and every way in which it may not be so any more."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from docker.errors import ImageNotFound

from ephemera.docker import connection as host_engine
from ephemera.home import credentials, identity
from ephemera.home.paths import state_dir
from ephemera.host import fingerprint
from ephemera.model.errors import MachineError
from ephemera.model.outputs import EnvironmentOutputs
from ephemera.model.settings import Settings
from ephemera.pulumi import engine, known
from ephemera.pulumi.workspace import Workspace
from tests.unit.doubles import SHOP, FakeClient, marks

_STACK = "shop-main"
_SETTINGS = Settings(system="shop", branch="main", owner="me@here", images="local")
_IMAGE = "docker:index/remoteImage:RemoteImage"
_NETWORK = "docker:index/network:Network"
_ENCRYPTED = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "ciphertext": "v1:x"}


class World:
    """An environment that is ready: its state, what the engine holds of it, and what its program read."""

    def __init__(self, workspace: Workspace, docker: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
        self.workspace = workspace
        self.api = docker.api
        self.images = {"ephemera/shop:1": "sha256:1"}
        self.reads: dict[str, Any] | None = {
            "paths": [str(workspace.project), str(workspace.project / "tests/data.txt")],
            "credentials": [["db", "password"]],
            "doubts": [],
        }
        image = {"type": _IMAGE, "urn": "a::image", "custom": True, "inputs": {"name": "ephemera/shop:1"}}
        self.resources: list[dict[str, Any]] = [{"type": _NETWORK, "urn": "a::network", "custom": True}, image]
        self.secret = {"password"}
        self.answering = True
        self.started = time.time_ns() + 10**9
        self.credentials = {"user": "shop", "password": credentials.credential(_STACK, "db", "password")}
        self.readiness: dict[str, Any] = {"type": "exec", "command": ["true"]}
        own = marks(_STACK, identity.backend_id(), "db")
        self.api.add("container", "shop-main-db", own)
        self.api.add("network", _STACK, own, Id="n1")
        self.api.add("volume", "shop-main-data", own, CreatedAt="today")
        self.life: dict[str, Any] = {"Status": "running", "StartedAt": "8:00", "FinishedAt": "0", "ExitCode": 0}
        self.name = "/shop-main-db"
        self.networks = {_STACK: {"NetworkID": "n1", "Aliases": ["db"]}}
        monkeypatch.setattr(self.api, "inspect_container", self._inspect_container)
        monkeypatch.setattr(self.api, "inspect_image", self._inspect_image)
        monkeypatch.setattr(known, "_references", lambda *_: sorted(self.images))
        monkeypatch.setattr(known, "_answers", lambda *_: self.answering)
        self.plugin = workspace.project.parent / "pulumi" / "plugins" / "resource-docker-v5"
        self.packages = workspace.project.parent / "site-packages"
        for folder in (self.plugin, self.packages, workspace.project / "tests"):
            folder.mkdir(parents=True)
        (workspace.project / "tests/data.txt").write_text("1")
        monkeypatch.setattr(known, "site_folders", lambda: (str(self.packages),))
        workspace.write_config(_STACK, _SETTINGS.to_config())
        self.write_state()

    @property
    def outputs(self) -> EnvironmentOutputs:
        return EnvironmentOutputs.parse(self._document(self.credentials))

    def write_state(self) -> None:
        path = self.workspace.state_file(_STACK)
        path.parent.mkdir(parents=True, exist_ok=True)
        written = {key: _ENCRYPTED if key in self.secret else value for key, value in self.credentials.items()}
        root = {"type": "pulumi:pulumi:Stack", "outputs": {"environment": self._document(written)}}
        path.write_text(json.dumps({"checkpoint": {"latest": {"resources": [root, *self.resources]}}}, sort_keys=True))

    def _document(self, credentials: dict[str, Any]) -> dict[str, Any]:
        service = {
            "container": "shop-main-db",
            "image": "sha256:1",
            "credentials": credentials,
            "readiness": self.readiness,
        }
        return {"stack": _STACK, "system": "shop", "branch": "main", "services": {"db": service}}

    def remember(self, during: Callable[[], Any] = lambda: None) -> None:
        said: list[Any] = []
        self.workspace.files.since = self.started
        listener, ready = known.remembering(self.workspace, _STACK, SHOP, _SETTINGS, said.append)
        listener({"type": "notice", "message": "hello"})
        if self.reads is not None:
            listener({"type": "reads", **self.reads})
        during()
        ready(self.outputs)
        assert said == [{"type": "notice", "message": "hello"}]

    def unchanged(self, settings: Settings = _SETTINGS) -> EnvironmentOutputs | None:
        return known.unchanged(Workspace(self.workspace.project), _STACK, SHOP, settings)

    def fits(self, settings: Settings) -> bool:
        """Whether it is one for a branch with these settings."""
        found = known.read(_STACK)
        assert found is not None
        workspace = Workspace(self.workspace.project)
        why_not = known.why_not(found, workspace, _STACK, SHOP, settings, any_branch=True)
        return known.same_request(found, settings) and not why_not

    def _inspect_container(self, container: str) -> dict[str, Any]:
        assert container.startswith("shop-main-")
        return {
            "Id": container,
            "State": dict(self.life),
            "Name": self.name,
            "NetworkSettings": {"Networks": self.networks},
        }

    def _inspect_image(self, reference: str) -> dict[str, Any]:
        if reference not in self.images:
            raise ImageNotFound("no such image")
        return {"Id": self.images[reference]}


@pytest.fixture
def world(workspace: Workspace, docker: FakeClient, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(workspace, docker, monkeypatch)


def _file() -> Path:
    return state_dir() / "known" / f"{_STACK}.json"


def _edit_config(world: World, old: str, new: str) -> None:
    path = world.workspace.config_file(_STACK)
    path.write_text(path.read_text().replace(old, new))


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
    assert list(found.services["db"].credentials) == list(world.credentials), "in the order of the program"


@pytest.mark.parametrize(
    "change",
    [
        lambda world: world.life.update(StartedAt="9:00"),
        lambda world: world.life.update(Status="exited", FinishedAt="9:00", ExitCode=137),
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
        lambda world: (world.workspace.project / "tests/data.txt").write_text("2"),
        lambda world: (world.workspace.project / "yaml.py").write_text(""),
        lambda world: _edit_config(world, "config:\n", "config:\n  aws:region: eu-1\n"),
        lambda world: world.workspace.config_file(_STACK).write_text("{"),
        lambda world: (world.plugin / "pulumi-resource-docker").write_text("another variant"),
        lambda world: (world.packages / "pulumi-9.dist-info").mkdir(),
        lambda _: os.environ.update(DOCKER_HOST="unix:///elsewhere.sock"),
        lambda _: os.environ.update(SHOP_SIZE="2"),
        lambda _: os.environ.update(EPHEMERA_BRANCH="fix"),
        lambda _: (state_dir() / "key").write_text("0" * 64),
        lambda _: _file().write_text("{"),
        lambda _: _file().write_text(json.dumps({"schema": 3, "known": {"state": []}})),
        lambda _: _file().write_text(_file().read_text().replace('"schema": 3', '"schema": 0')),
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


@pytest.mark.parametrize(
    "change",
    [
        lambda world: (world.workspace.project / "README.md").write_text("x"),
        lambda world: (world.workspace.project / "Pulumi.shop-other.yaml").write_text("x"),
        lambda world: (world.workspace.project / "tests/test_shop.py").write_text("x"),
        lambda world: os.utime(world.workspace.project / "Pulumi.yaml"),
        lambda world: _edit_config(world, "config:\n", "encryptionsalt: v1:abc\nconfig:\n"),
        lambda _: os.environ.update(dict.fromkeys(("TERM", "COLUMNS", "SSH_CONNECTION", "OLDPWD"), "other")),
        lambda _: os.environ.update(
            PULUMI_CONFIG_PASSPHRASE="x", PULUMI_OPTION_PARALLEL="2", EPHEMERA_DERIVED_KEYS="x"
        ),
    ],
)
def test_what_makes_no_difference_is_no_change(world: World, change: Callable[[World], Any]) -> None:
    world.remember()
    change(world)
    assert world.unchanged() == world.outputs


def test_settings_are_part_of_it_and_a_pools_are_for_any_branch(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.remember()
    other = _SETTINGS.model_copy(update={"branch": "fix", "owner": "you@there"})
    assert world.unchanged(other) is None
    monkeypatch.setenv("EPHEMERA_BRANCH", "fix")
    monkeypatch.setenv("GITHUB_HEAD_REF", "fix")
    assert world.fits(other)
    assert not world.fits(other.model_copy(update={"expose": "none"}))
    monkeypatch.setenv("SHOP_SIZE", "2")
    assert not world.fits(other)


def test_no_value_of_a_variable_is_kept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_PASSWORD", "hunter2")
    world.remember()
    assert "hunter2" not in _file().read_text()


def test_more_files_than_can_be_looked_at_are_not_known(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.remember()
    monkeypatch.setattr(fingerprint, "_MOST_FILES", 2)
    assert world.unchanged() is None
    world.remember()
    assert "more than 2 files" in known.doubt(_STACK)


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
        (lambda world: (world.credentials.update(token="hunter2"), world.secret.add("token")), "a secret that is not"),
        (lambda world: world.credentials.update(password=f"x:{world.credentials['password']}"), "a secret that is not"),
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


def test_file_that_is_written_since_files_were_first_looked_at_is_not_known(world: World) -> None:
    world.started = world.workspace.files.since
    (world.workspace.project / "Pulumi.yaml").write_text("name: demo\nruntime: python\n")
    world.remember()
    assert "a file of the project was written meanwhile" in known.doubt(_STACK)


def test_run_that_fails_leaves_nothing_known(world: World) -> None:
    world.remember()
    known.remembering(world.workspace, _STACK, SHOP, _SETTINGS, print)
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
    world.life.update(Status="exited", FinishedAt="9:00")  # which the outputs say nothing of
    assert engine.outputs(world.workspace, _STACK) == world.outputs
    assert asked == []
    world.write_state()
    assert engine.outputs(world.workspace, _STACK) == world.outputs
    assert asked == [_STACK]


def test_credentials_are_not_derived_from_another_key(world: World) -> None:
    world.remember()
    (state_dir() / "key").write_text("0" * 64)
    assert known.outputs(world.workspace, _STACK) is None
