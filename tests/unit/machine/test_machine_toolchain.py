"""Where the engine and the plugin are taken from."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest

from ephemera.contract.errors import InputError, MachineError
from ephemera.machine import toolchain


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "requirements.txt").write_text(
        "psutil==7.0 \\\n    --hash=sha256:0\npulumi==3.1.0 \\\n    --hash=sha256:1\n"
    )
    return folder


def put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    return path


def test_nothing_there_is_one_error_with_a_remedy(project: Path) -> None:
    with pytest.raises(MachineError, match="engine is not there: run `ephemera setup`"):
        toolchain.located(project)
    put(toolchain.built_engine_dir() / "pulumi")
    with pytest.raises(MachineError, match="plugin is not there"):
        toolchain.located(project)


def test_located_names_engine_and_home_of_the_plugin(project: Path) -> None:
    pulumi = put(toolchain.built_engine_dir() / "pulumi")
    plugin = put(toolchain.plugin_path())
    found = toolchain.located(project)
    assert found.pulumi == pulumi
    assert found.bin_dir == pulumi.parent
    assert plugin == found.pulumi_home / "plugins" / "resource-docker-v5.2.0" / "pulumi-resource-docker"


def test_the_built_engine_wins_unless_the_official_one_is_asked_for(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    official = put(toolchain.official_engine_dir(project) / "pulumi").parent
    assert official.parent.name == f"official-{importlib.metadata.version('pulumi')}"
    assert toolchain.engine_dir(project) == official
    built = put(toolchain.built_engine_dir() / "pulumi").parent
    assert toolchain.engine_dir(project) == built
    monkeypatch.setenv("EPHEMERA_ENGINE", "official")
    assert toolchain.engine_dir(project) == official


def test_an_engine_of_the_kind_that_is_not_asked_for_does_not_count(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(toolchain.official_engine_dir(project) / "pulumi")
    monkeypatch.setenv("EPHEMERA_ENGINE", "build")
    assert toolchain.engine_dir(project) is None


def test_each_plugin_variant_has_a_home_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    fast = toolchain.pulumi_home()
    monkeypatch.setenv("EPHEMERA_PLUGIN", "official")
    assert fast.name.startswith("fast-")
    assert toolchain.pulumi_home().name == "official-5.2.0"


@pytest.mark.parametrize("variable", ["EPHEMERA_ENGINE", "EPHEMERA_PLUGIN"])
def test_an_unknown_choice_is_refused(project: Path, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "newest")
    with pytest.raises(InputError, match=f"{variable} is 'newest': use one of"):
        toolchain.located(project)


def test_a_projects_own_lock_file_says_nothing_about_the_sdk_that_is_installed(project: Path) -> None:
    assert toolchain.sdk_version(project) == importlib.metadata.version("pulumi") != "3.1.0"


def test_the_checkouts_lock_file_counts_before_anything_is_installed(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toolchain, "checkout", lambda: project)
    assert toolchain.sdk_version(project) == "3.1.0"
