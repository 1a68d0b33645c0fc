"""The definition of an environment: what counts as a change of it, and what does not."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from ephemera.contract.settings import Settings
from ephemera.driver import definition
from ephemera.driver.definition import Definition, UnknownFilesError
from ephemera.driver.workspace import Workspace
from ephemera.host import fingerprint

_STACK = "shop-main"
_SETTINGS = Settings(system="shop", branch="main", owner="me@here", options={})


@pytest.fixture
def known(workspace: Workspace) -> Definition:
    """Of a program that read something besides the project's files."""
    project = workspace.project
    (project / "shop.py").write_text("SIZE = 1")
    (project / "tests").mkdir()
    (project / "tests" / "data.txt").write_text("one")
    workspace.write_config(_STACK, _SETTINGS.to_config())
    paths = [str(project), str(project / "tests" / "data.txt"), str(workspace.config_file(_STACK))]
    return definition.define(workspace, _STACK, _SETTINGS, paths, time.time_ns() + 10**9)


def _difference(known: Definition, workspace: Workspace, settings: Settings = _SETTINGS, **more: Any) -> str:
    return definition.difference(known, workspace, _STACK, settings, **more)


def test_nothing_changed_is_no_difference(known: Definition, workspace: Workspace) -> None:
    assert _difference(known, workspace) == ""
    assert definition.same_variables(known)


@pytest.mark.parametrize("name", ["shop.py", "yaml.py", "Pulumi.yaml", "tests/data.txt"])
def test_file_that_the_program_may_read_is_part_of_it(known: Definition, workspace: Workspace, name: str) -> None:
    (workspace.project / name).write_text("x")
    assert _difference(known, workspace) == "the project's files differ"


@pytest.mark.parametrize("name", ["README.md", f"Pulumi.{_STACK}.yaml", "Pulumi.shop-other.yaml", "tests/test_shop.py"])
def test_what_it_does_not_read_is_not(known: Definition, workspace: Workspace, name: str) -> None:
    path = workspace.project / name
    path.write_text(path.read_text() if path.exists() else "x")
    assert _difference(known, workspace) == ""


def test_file_that_was_written_while_the_program_ran_is_not_known(workspace: Workspace) -> None:
    started = time.time_ns()
    os.utime(workspace.project / "Pulumi.yaml")
    with pytest.raises(UnknownFilesError, match="written meanwhile"):
        definition.define(workspace, _STACK, _SETTINGS, [str(workspace.project)], started)


def test_more_files_than_can_be_looked_at_are_a_difference(
    known: Definition, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprint, "_MOST_FILES", 2)
    assert _difference(known, workspace) == "the project's files differ"
    with pytest.raises(UnknownFilesError, match="more than 2 files"):
        definition.define(workspace, _STACK, _SETTINGS, known.paths, time.time_ns() + 10**9)


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
    assert "hunter2" not in repr(definition.define(workspace, _STACK, _SETTINGS, [], time.time_ns() + 10**9))


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
