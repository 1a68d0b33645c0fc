"""The definition of an environment: what counts as a change of it, and what does not."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ephemera.contract.settings import Settings
from ephemera.driver import definition
from ephemera.driver.definition import ChangedMeanwhileError, Definition
from ephemera.driver.workspace import Workspace

_STACK = "shop-main"
_SETTINGS = Settings(system="shop", branch="main", owner="me@here", options={})


@pytest.fixture
def known(workspace: Workspace) -> Definition:
    """Of a program that read a module, a data file, one that was not there, and what is in a folder."""
    project = workspace.project
    (project / "shop.py").write_text("SIZE = 1")
    (project / "data.txt").write_text("one")
    (project / "conf.d").mkdir()
    (project / "conf.d" / "a.toml").write_text("")
    workspace.write_config(_STACK, _SETTINGS.to_config())
    reads = {
        "files": [str(project / name) for name in ("shop.py", "data.txt", "local.toml")],
        "searched": [str(project)],
        "listed": [str(project / "conf.d")],
    }
    return definition.define(workspace, _STACK, _SETTINGS, reads, time.time_ns() + 10**9)


def _difference(known: Definition, workspace: Workspace, settings: Settings = _SETTINGS, **more: Any) -> str:
    return definition.difference(known, workspace, _STACK, settings, **more)


def test_nothing_changed_is_no_difference(known: Definition, workspace: Workspace) -> None:
    assert _difference(known, workspace) == ""
    assert definition.same_variables(known)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda project: (project / "shop.py").write_text("SIZE = 2"), "shop.py differs"),
        (lambda project: (project / "data.txt").write_text("two"), "data.txt differs"),
        (lambda project: (project / "data.txt").unlink(), "data.txt is gone"),
        (lambda project: (project / "local.toml").write_text("x"), "local.toml is new"),
        (lambda project: (project / "Pulumi.yaml").write_text("name: demo\n"), "Pulumi.yaml differs"),
        (lambda project: (project / "yaml.py").write_text(""), "other files are in"),
        (lambda project: (project / "shop").mkdir(), "other files are in"),
        (lambda project: (project / "conf.d" / "__init__.py").write_text(""), "other files are in"),
        (lambda project: (project / "conf.d" / "b.toml").write_text(""), "other files are in"),
        (lambda project: (project / "conf.d" / "a.toml").unlink(), "other files are in"),
    ],
)
def test_what_the_program_would_read_otherwise_is_a_difference(
    known: Definition, workspace: Workspace, change: Callable[[Path], Any], told: str
) -> None:
    change(workspace.project)
    assert told in _difference(known, workspace)


def test_content_of_the_same_size_and_age_is_a_difference(known: Definition, workspace: Workspace) -> None:
    path = workspace.project / "data.txt"
    before = path.stat()
    path.write_text("two")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert "data.txt differs" in _difference(known, workspace)


def test_same_content_written_anew_is_no_difference(known: Definition, workspace: Workspace) -> None:
    path = workspace.project / "data.txt"
    path.unlink()
    path.write_text("one")
    assert _difference(known, workspace) == ""


@pytest.mark.parametrize("name", ["README.md", "Pulumi.shop-other.yaml", "notes.txt"])
def test_what_is_not_read_is_no_difference(known: Definition, workspace: Workspace, name: str) -> None:
    (workspace.project / name).write_text("x")
    (workspace.project / "__pycache__").mkdir()
    assert _difference(known, workspace) == ""


def test_file_that_was_written_while_the_program_ran_is_not_known(workspace: Workspace) -> None:
    reads: dict[str, Any] = {"files": [], "searched": [], "listed": []}
    started = time.time_ns()
    os.utime(workspace.project / "Pulumi.yaml")
    with pytest.raises(ChangedMeanwhileError, match=r"Pulumi\.yaml"):
        definition.define(workspace, _STACK, _SETTINGS, reads, started)


def test_settings_are_part_of_it(known: Definition, workspace: Workspace) -> None:
    assert _difference(known, workspace, _SETTINGS.model_copy(update={"only": ("db",)})) == "the settings differ"
    other = _SETTINGS.model_copy(update={"branch": "fix", "owner": "you@there"})
    assert _difference(known, workspace, other) == "the settings differ"
    assert _difference(known, workspace, other, any_branch=True) == ""
    assert definition.same_request(known, other)
    assert not definition.same_request(known, other.model_copy(update={"expose": "none"}))


def test_config_of_others_is_part_of_it_and_the_salt_is_not(known: Definition, workspace: Workspace) -> None:
    path = workspace.config_file(_STACK)
    path.write_text(f"{path.read_text()}encryptionsalt: v1:abc\n")
    assert _difference(known, workspace) == ""
    path.write_text(path.read_text().replace("config:\n", "config:\n  aws:region: eu-1\n"))
    assert _difference(known, workspace) == "the stack's config differs"
    path.write_text("{")
    assert _difference(known, workspace) == "the stack's config differs"


def test_variables_are_part_of_it_but_for_what_differs_by_terminal_test_or_branch(
    known: Definition, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TERM", "COLUMNS", "SSH_CONNECTION", "PYTEST_CURRENT_TEST", "OLDPWD"):
        monkeypatch.setenv(name, "other")
    assert definition.same_variables(known)
    monkeypatch.setenv("EPHEMERA_BRANCH", "fix")
    monkeypatch.setenv("GITHUB_HEAD_REF", "fix")
    assert not definition.same_variables(known)
    assert definition.same_request(known, _SETTINGS)
    monkeypatch.setenv("SHOP_SIZE", "2")
    assert not definition.same_request(known, _SETTINGS)


def test_no_value_of_a_variable_is_kept(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_PASSWORD", "hunter2")
    reads: dict[str, Any] = {"files": [], "searched": [], "listed": []}
    assert "hunter2" not in repr(definition.define(workspace, _STACK, _SETTINGS, reads, time.time_ns() + 10**9))


def test_engine_and_plugin_are_part_of_it(
    known: Definition, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = workspace.project.parent / "pulumi" / "plugins" / "resource-docker-v5" / "pulumi-resource-docker"
    plugin.parent.mkdir(parents=True)
    plugin.write_text("another variant")
    assert _difference(known, workspace) == "engine, plugin or packages differ"
    plugin.unlink()
    assert _difference(known, workspace) == ""
    monkeypatch.setenv("DOCKER_HOST", "unix:///elsewhere.sock")
    assert _difference(known, workspace) == "engine, plugin or packages differ"


def test_installed_packages_are_part_of_it(
    known: Definition, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pulumi-9.dist-info").mkdir()
    monkeypatch.setattr(definition, "site_folders", lambda: (str(tmp_path),))
    assert _difference(known, workspace) == "engine, plugin or packages differ"


@pytest.mark.parametrize("name", ["PULUMI_CONFIG_PASSPHRASE", "PULUMI_OPTION_PARALLEL", "EPHEMERA_DERIVED_KEYS"])
def test_variables_that_do_not_reach_the_engine_are_no_difference(
    known: Definition, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "x")
    assert definition.same_variables(known)
    assert definition.same_request(known, _SETTINGS)
