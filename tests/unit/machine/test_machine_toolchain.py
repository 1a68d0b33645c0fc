"""Where the engine and the plugin are taken from."""

from __future__ import annotations

from pathlib import Path

import pytest

from ephemera.contract.errors import InputError, MachineError
from ephemera.machine import toolchain
from tests.unit.users import belongs_to


def put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    return path


def test_nothing_there_is_one_error_with_a_remedy() -> None:
    with pytest.raises(MachineError, match="engine is not there: run `ephemera setup`"):
        toolchain.located()
    put(toolchain.built_engine_dir() / "pulumi")
    with pytest.raises(MachineError, match="plugin is not there"):
        toolchain.located()


def test_located_names_engine_and_home_of_the_plugin() -> None:
    pulumi = put(toolchain.built_engine_dir() / "pulumi")
    plugin = put(toolchain.plugin_path())
    found = toolchain.located()
    assert found.pulumi == pulumi
    assert found.bin_dir == pulumi.parent
    assert plugin == found.pulumi_home / "plugins" / "resource-docker-v5.2.0" / "pulumi-resource-docker"


@pytest.mark.parametrize("planted", ["pulumi", "git", "plugin"])
def test_what_another_user_put_there_is_not_run(planted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    put(toolchain.built_engine_dir() / "pulumi")
    plugin = put(toolchain.plugin_path())
    path = plugin if planted == "plugin" else put(toolchain.built_engine_dir() / planted)
    belongs_to(monkeypatch, {path: 4711})
    with pytest.raises(MachineError, match=f"{path} belongs to user 4711, and this runs as .*: remove {path.parent}"):
        toolchain.located()


@pytest.mark.parametrize("variable", ["EPHEMERA_ENGINE", "EPHEMERA_PLUGIN"])
def test_an_unknown_choice_is_refused(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "newest")
    with pytest.raises(InputError, match=f"{variable} is 'newest': use "):
        toolchain.located()


@pytest.mark.parametrize("variable", ["EPHEMERA_ENGINE", "EPHEMERA_PLUGIN"])
def test_what_the_vendor_publishes_without_a_hash_is_not_taken(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "official")
    with pytest.raises(MachineError, match=f"{variable} is 'official', and no hash is known .*: unset {variable}"):
        toolchain.located()


@pytest.mark.parametrize(("variable", "ours"), [("EPHEMERA_ENGINE", "build"), ("EPHEMERA_PLUGIN", "fast")])
def test_ours_may_be_asked_for_by_name(variable: str, ours: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, ours)
    toolchain.check_choices()
