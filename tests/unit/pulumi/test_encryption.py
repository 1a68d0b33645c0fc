"""What is encrypted of a stack: made ours when it is another passphrase's, and told to whatever redacts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from ephemera.model.errors import EngineError, InputError
from ephemera.model.outputs import EnvironmentOutputs
from ephemera.model.progress import Event
from ephemera.pulumi import encryption, engine
from ephemera.pulumi.workspace import Workspace

_STACK = "shop-main"
_OUTPUTS = EnvironmentOutputs(stack=_STACK, system="shop", branch="main", services={})
_SECRET = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "ciphertext": "v1:x:y"}
_CONTAINER = {
    "urn": "urn:db",
    "type": "docker:index/container:Container",
    "custom": True,
    "inputs": {"envs": _SECRET, "name": "db", "mixed": ["a", _SECRET]},
    "outputs": {"envs": _SECRET, "name": "db", "__pulumi_raw_state_delta": {"obj": {}}},
}


class _Engine:
    """Brings a stack up unless it is encrypted with another passphrase; answers what ``pulumi`` is asked."""

    def __init__(self) -> None:
        self.ups = 0
        self.answer = ""

    def up(self, workspace: Workspace, stack: str, _report: Any, **_how: Any) -> EnvironmentOutputs:
        self.ups += 1
        locked = [file for file in _files(workspace) if "another's" in file.read_text()]
        if locked:
            raise EngineError("no", output=["error: get stack secrets manager: incorrect passphrase"])
        return _OUTPUTS

    def run(self, _workspace: Workspace, _stack: str, arguments: list[str]) -> str:
        assert arguments == ["config", "--show-secrets", "--json"]
        return self.answer


def _files(workspace: Workspace) -> list[Path]:
    return [workspace.config_file(_STACK), workspace.state_file(_STACK)]


@pytest.fixture
def pulumi(monkeypatch: pytest.MonkeyPatch) -> _Engine:
    fake = _Engine()
    monkeypatch.setattr(engine, "up", fake.up)
    monkeypatch.setattr(engine, "run", fake.run)
    return fake


def _spoil(workspace: Workspace, *more: Any, **config: Any) -> None:
    """Make the stack one of another passphrase."""
    workspace.config_file(_STACK).write_text(
        yaml.dump({"config": {"shop:a": "b", **config}, "encryptionsalt": "v1:another's"})
    )
    workspace.create(_STACK)
    latest = {
        "secrets_providers": {"type": "passphrase", "state": {"salt": "v1:another's"}},
        "resources": [_CONTAINER, *more],
    }
    workspace.state_file(_STACK).write_text(json.dumps({"version": 3, "checkpoint": {"latest": latest}}))


def test_stack_of_another_passphrase_becomes_ours(workspace: Workspace, pulumi: _Engine) -> None:
    _spoil(workspace)
    seen: list[Event] = []
    assert encryption.up(workspace, _STACK, seen.append) == _OUTPUTS
    assert [event["type"] for event in seen] == ["notice"]
    assert _STACK in seen[0]["message"]
    assert yaml.safe_load(workspace.config_file(_STACK).read_text()) == {"config": {"shop:a": "b"}}
    (left,) = json.loads(workspace.state_file(_STACK).read_text())["checkpoint"]["latest"]["resources"]
    assert left["inputs"] == {"name": "db", "mixed": ["a"]}
    assert left["outputs"] == {"name": "db"}
    assert left["urn"] == "urn:db"


def test_new_stack_with_a_prepared_salt_becomes_ours(workspace: Workspace, pulumi: _Engine) -> None:
    workspace.config_file(_STACK).write_text("encryptionsalt: v1:another's\n")
    workspace.create(_STACK)
    assert encryption.up(workspace, _STACK, lambda _: None) == _OUTPUTS
    assert workspace.exists(_STACK)


def test_secrets_in_the_config_are_not_dropped(workspace: Workspace, pulumi: _Engine) -> None:
    _spoil(workspace, **{"ephemera:level": {"secure": "v1:a:b"}, "shop:nested": {"deep": [{"secure": "v1:c:d"}]}})
    before = [file.read_text() for file in _files(workspace)]
    with pytest.raises(InputError, match="ephemera:level, shop:nested: remove them and encryptionsalt") as caught:
        encryption.up(workspace, _STACK, lambda _: None)
    assert "\n" not in str(caught.value)
    assert [file.read_text() for file in _files(workspace)] == before


def test_resources_beside_dockers_are_not_touched(workspace: Workspace, pulumi: _Engine) -> None:
    _spoil(workspace, {"urn": "urn:b", "type": "aws:s3/bucket:Bucket", "custom": True, "inputs": {"a": _SECRET}})
    before = [file.read_text() for file in _files(workspace)]
    with pytest.raises(EngineError, match=r"PULUMI_CONFIG_PASSPHRASE=… pulumi destroy"):
        encryption.up(workspace, _STACK, lambda _: None)
    assert [file.read_text() for file in _files(workspace)] == before


def test_other_failures_are_left_alone(workspace: Workspace, pulumi: _Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        pulumi.ups += 1
        raise EngineError("no", output=["error: no space left on device"])

    monkeypatch.setattr(engine, "up", fail)
    _spoil(workspace)
    before = [file.read_text() for file in _files(workspace)]
    with pytest.raises(EngineError):
        encryption.up(workspace, _STACK, lambda _: None)
    assert pulumi.ups == 1
    assert [file.read_text() for file in _files(workspace)] == before


def test_secrets_of_the_config_are_known_by_value(workspace: Workspace, pulumi: _Engine) -> None:
    workspace.config_file(_STACK).write_text(yaml.dump({"config": {"shop:token": {"secure": "v1:a:b"}}}))
    pulumi.answer = json.dumps(
        {
            "shop:token": {"value": "opensesame", "secret": True},
            "shop:open": {"value": "plain", "secret": False},
            "ephemera:verbose": {"value": "true", "secret": True},
        }
    )
    assert encryption.config_secrets(workspace, _STACK) == ["opensesame"]


def test_config_without_secrets_asks_nothing(workspace: Workspace, pulumi: _Engine) -> None:
    pulumi.answer = "no JSON"
    workspace.write_config(_STACK, {"branch": "main"})
    assert encryption.config_secrets(workspace, _STACK) == []
