from __future__ import annotations

import os
import pwd
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ephemera.home import identity
from ephemera.home.paths import state_dir
from ephemera.model.errors import InputError
from ephemera.model.settings import Settings, read_settings
from ephemera.pulumi.workspace import Workspace
from tests.unit.doubles import SHOP


def _state(workspace: Workspace) -> Path:
    return identity.backend_dir() / ".pulumi"


def _record(workspace: Workspace, stack: str) -> list[Path]:
    """All that Pulumi's file backend records of a stack, and its config."""
    state = _state(workspace)
    files = [
        state / "stacks" / "demo" / f"{stack}.json",
        state / "stacks" / "demo" / f"{stack}.json.bak",
        state / "stacks" / "demo" / f"{stack}.json.attrs",
        state / "history" / "demo" / stack / f"{stack}-1.history.json",
        state / "history" / "demo" / stack / f"{stack}-1.checkpoint.json",
        state / "backups" / "demo" / stack / f"{stack}.1.json",
        state / "locks" / "organization" / "demo" / stack / "one.json",
        workspace.config_file(stack),
    ]
    for path in files:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    return files


def test_workspace_is_the_project_around_the_working_directory(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = workspace.project / "a"
    inside.mkdir()
    monkeypatch.chdir(inside)
    assert Workspace.find() == workspace
    assert list(workspace.catalog) == ["shop"]
    assert workspace.name == "demo"


@pytest.mark.parametrize("text", ["runtime: python\n", "name: 3\n", "", "- a\n"])
def test_project_without_a_name_is_refused(workspace: Workspace, text: str) -> None:
    (workspace.project / "Pulumi.yaml").write_text(text)
    with pytest.raises(InputError, match=r"Pulumi\.yaml has no name"):
        _ = workspace.name


def test_config_that_was_written_is_read(workspace: Workspace) -> None:
    workspace.write_config("shop-main", {"branch": "main", "only": '["db", "api"]', "seconds": "5"})
    assert workspace.read_config("shop-main") == {"branch": "main", "only": '["db", "api"]', "seconds": "5"}


def test_lists_are_lists_to_pulumi_too(workspace: Workspace) -> None:
    workspace.write_config("shop-main", {"only": '["db"]', "profiles": "[]"})
    document = yaml.safe_load(workspace.config_file("shop-main").read_text())
    assert document["config"] == {"ephemera:only": ["db"], "ephemera:profiles": []}


@pytest.mark.parametrize(
    "branch", ["007", "1.0", "1_000", "yes", "on", "null", "~", "0x10", "2024-01-01", "#12", "a: b", "[x", "*x", "!y"]
)
def test_branch_that_looks_like_something_else_stays_what_it_is(workspace: Workspace, branch: str) -> None:
    workspace.write_config("shop-main", {"branch": branch})
    assert workspace.read_config("shop-main") == {"branch": branch}


@given(
    branch=st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1),
    profiles=st.lists(st.sampled_from(["scale", "lab"]), unique=True),
    seconds=st.integers(-(10**18) + 1, 10**18 - 1),
    verbose=st.booleans(),
)
def test_settings_survive_the_way_through_the_file(
    workspace: Workspace, branch: str, profiles: list[str], seconds: int, verbose: bool
) -> None:
    options: dict[str, str | bool | int] = {"level": "info", "seconds": seconds, "verbose": verbose}
    settings = Settings(system="shop", branch=branch, profiles=tuple(profiles), options=options)
    workspace.write_config("shop-main", settings.to_config())
    if branch != "[]":
        assert read_settings({"shop": SHOP}, "shop-main", workspace.read_config("shop-main")) == settings


def test_config_written_by_hand_is_read_as_pulumi_would(workspace: Workspace) -> None:
    workspace.config_file("shop-main").write_text(
        "config:\n  ephemera:verbose: true\n  ephemera:seconds: 7\n  ephemera:only:\n    - db\n    - api\n"
    )
    assert workspace.read_config("shop-main") == {"verbose": "true", "seconds": "7", "only": '["db", "api"]'}


def test_foreign_keys_and_the_salt_stay(workspace: Workspace) -> None:
    path = workspace.config_file("shop-main")
    path.write_text(
        "encryptionsalt: v1:abc\nconfig:\n  docker:host: unix:///x\n  ephemera:expose: none\n"
        "  other:list:\n    secure: v1:xyz\n"
    )
    workspace.write_config("shop-main", {"branch": "main"})
    assert yaml.safe_load(path.read_text()) == {
        "encryptionsalt": "v1:abc",
        "config": {"docker:host": "unix:///x", "ephemera:branch": "main", "other:list": {"secure": "v1:xyz"}},
    }
    assert workspace.read_config("shop-main") == {"branch": "main"}
    assert not list(workspace.project.glob("*.partial"))


def test_absent_or_empty_config_is_empty(workspace: Workspace) -> None:
    assert workspace.read_config("shop-main") == {}
    workspace.config_file("shop-main").write_text("config:\n")
    assert workspace.read_config("shop-main") == {}


def test_config_that_is_no_yaml_is_refused_by_name(workspace: Workspace) -> None:
    workspace.config_file("shop-main").write_text("config: [")
    with pytest.raises(InputError, match=r"Pulumi\.shop-main\.yaml is not valid YAML") as caught:
        workspace.read_config("shop-main")
    assert "\n" not in str(caught.value)


def test_forget_removes_all_of_one_stack_and_nothing_of_its_namesakes(workspace: Workspace) -> None:
    kept = [path for stack in ("shop-a-b", "shop-ab", "shop", "x-shop-a") for path in _record(workspace, stack)]
    gone = _record(workspace, "shop-a")
    other_project = _state(workspace) / "stacks" / "other" / "shop-a.json"
    other_project.parent.mkdir(parents=True)
    other_project.write_text("{}")
    workspace.forget("shop-a")
    assert [path for path in gone if path.exists()] == []
    assert [path for path in (*kept, other_project) if not path.exists()] == []
    assert not (_state(workspace) / "history" / "demo" / "shop-a").exists()
    workspace.forget("shop-a")


def test_stacks_are_those_with_state(workspace: Workspace) -> None:
    assert workspace.stacks() == []
    _record(workspace, "shop-b")
    _record(workspace, "shop-a")
    assert workspace.stacks() == ["shop-a", "shop-b"]
    assert workspace.exists("shop-a")
    assert not workspace.exists("shop-c")


def test_locks_of_a_stack_are_found(workspace: Workspace) -> None:
    _record(workspace, "shop-a-b")
    assert workspace.locks("shop-a") == []
    _record(workspace, "shop-a")
    assert [path.name for path in workspace.locks("shop-a")] == ["one.json"]


def test_pulumi_runs_with_this_machines_engine_state_and_passphrase(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin")
    monkeypatch.setenv("KEPT", "yes")
    monkeypatch.setenv("DOCKER_HOST", "tcp://far:2376")
    environment = workspace.environment()
    tools = workspace.project.parent
    assert environment["PATH"] == f"{Path(sys.executable).parent}:{tools}/bin:/usr/bin"
    assert environment["PULUMI_HOME"] == f"{tools}/pulumi"
    assert environment["PULUMI_BACKEND_URL"] == identity.backend_url()
    assert environment["PULUMI_CONFIG_PASSPHRASE_FILE"] == str(identity.passphrase_file())
    assert environment["DOCKER_HOST"] == "tcp://far:2376"
    assert environment["KEPT"] == "yes"


def test_interpreter_that_has_ephemera_goes_first(workspace: Workspace) -> None:
    folders = workspace.exported()["PATH"].split(os.pathsep)
    assert folders == [str(Path(sys.executable).parent), f"{workspace.project.parent}/bin"]


def test_loopback_goes_past_the_machines_proxy(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "intern.example")
    monkeypatch.delenv("no_proxy", raising=False)
    environment = workspace.environment()
    assert environment["no_proxy"] == environment["NO_PROXY"] == "intern.example,localhost,127.0.0.1"


def test_plain_pulumi_goes_past_the_machines_proxy_too(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("no_proxy", "intern.example, localhost")
    for _ in ("a shell", "the same, where it was evaluated before"):
        exported = workspace.exported()
        assert exported["no_proxy"] == exported["NO_PROXY"] == "intern.example,localhost,127.0.0.1"
        monkeypatch.setenv("no_proxy", exported["no_proxy"])


def test_engine_is_told_who_runs_it_where_nothing_else_tells(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lock names user and home, which it finds in /etc/passwd or in these variables."""
    for name in ("HOME", "USER", "LOGNAME", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)

    def unknown(uid: int) -> pwd.struct_passwd:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    found = workspace.environment()
    assert (found["USER"], found["HOME"]) == (f"uid-{os.getuid()}", str(state_dir()))
    monkeypatch.setenv("USER", "ci")
    monkeypatch.setenv("HOME", "/home/ci")
    assert not {"USER", "HOME"} & workspace.exported().keys()


@pytest.mark.parametrize(
    "name",
    [
        "PULUMI_CONFIG_PASSPHRASE",
        "PULUMI_CONFIG",
        "PULUMI_CONFIG_SHOP_TOKEN",
        "PULUMI_OPTION_PARALLEL",
        "PULUMI_EXPERIMENTAL",
        "PULUMI_STACK",
        "PULUMI_OF_A_LATER_VERSION",
        "DOCKER_CONTEXT",
        "DOCKER_CERT_MATERIAL",
    ],
)
def test_no_variable_of_the_users_steers_pulumi(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///var/run/docker.sock")
    before = workspace.environment()
    monkeypatch.setenv(name, "")
    assert workspace.environment() == before
    assert workspace.unset() == [name]
    monkeypatch.setenv(name, "x")
    assert workspace.environment() == before
    assert name not in workspace.exported()


def test_variables_that_are_exported_replace_the_users_own(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = {name: value for name, value in workspace.exported().items() if name.startswith("PULUMI_")}
    for name in ours:
        monkeypatch.setenv(name, "the user's")
    monkeypatch.setenv("PULUMI-ODD", "no shell knows it")
    assert len(ours) > 3
    assert workspace.environment() == {**workspace.environment(), **ours}
    assert workspace.unset() == []


def test_secret_option_stays_one(workspace: Workspace) -> None:
    path = workspace.config_file("shop-main")
    secret = {"secure": "v1:abc:def"}
    path.write_text(yaml.dump({"config": {"ephemera:seconds": secret, "ephemera:level": "info"}}))
    config = workspace.read_config("shop-main")
    settings = read_settings({"shop": SHOP}, "shop-main", config)
    workspace.write_config("shop-main", settings.to_config())
    assert yaml.safe_load(path.read_text())["config"]["ephemera:seconds"] == secret
    assert read_settings({"shop": SHOP}, "shop-main", workspace.read_config("shop-main")) == settings
    overridden = read_settings({"shop": SHOP}, "shop-main", {**config, "seconds": "7"})
    workspace.write_config("shop-main", overridden.to_config())
    assert yaml.safe_load(path.read_text())["config"]["ephemera:seconds"] == "7"


@pytest.mark.parametrize("key", ["branch", "only", "expose"])
def test_setting_that_the_driver_needs_is_no_secret(workspace: Workspace, key: str) -> None:
    workspace.config_file("shop-main").write_text(yaml.dump({"config": {f"ephemera:{key}": {"secure": "v1:abc:def"}}}))
    with pytest.raises(InputError, match=f"ephemera:{key} is a secret, and only a system's options can be") as caught:
        workspace.read_config("shop-main")
    assert "v1:abc" not in str(caught.value)


_SALT = "v1:AQIDBAUGBwg=:v1:nonce:verifier"


def test_only_a_salt_that_the_engine_has_verified_is_shared(workspace: Workspace) -> None:
    first, second = workspace.config_file("shop-a"), workspace.config_file("shop-b")
    first.write_text(yaml.dump({"encryptionsalt": _SALT}))
    workspace.share_salt("shop-a")
    workspace.write_config("shop-b", {"branch": "b"})
    assert "encryptionsalt" not in yaml.safe_load(second.read_text())
    (identity.derived_keys_dir() / "0102030405060708").write_bytes(bytes(32))
    workspace.share_salt("shop-a")
    workspace.write_config("shop-b", {"branch": "b"})
    assert yaml.safe_load(second.read_text())["encryptionsalt"] == _SALT


@pytest.mark.parametrize("salt", ["", "v1", "v1::x", "v1:###:x", "v1:AQ:x", "v1:c2FsdA==:x", "v1:é:x"])
def test_salt_that_is_none_is_not_shared(workspace: Workspace, salt: str) -> None:
    workspace.config_file("shop-a").write_text(yaml.dump({"encryptionsalt": salt}))
    workspace.share_salt("shop-a")
    assert not identity.salt_file().exists()


@pytest.mark.parametrize("text", [None, "", "version: one", "[]", "version: -1", "{", "folder"])
def test_backend_that_pulumi_could_not_read_is_made_good(workspace: Workspace, text: str | None) -> None:
    path = workspace.state_file("shop-a").parents[2] / "meta.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    if text == "folder":
        path.mkdir()
    elif text is not None:
        path.write_text(text)
    workspace.prepare_backend()
    assert path.read_text() == "version: 1\n"
    assert len(list(path.parent.glob("meta.yaml.unreadable-*"))) == (0 if text is None else 1)


def test_backend_of_a_later_version_is_left_to_pulumi(workspace: Workspace) -> None:
    path = workspace.state_file("shop-a").parents[2] / "meta.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("version: 2\n")
    workspace.prepare_backend()
    assert path.read_text() == "version: 2\n"
