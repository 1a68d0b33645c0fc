"""Where the toolchain is taken from."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ephemera.model.errors import MachineError
from ephemera.setup import toolchain
from ephemera.setup.steps import BuiltToolchain
from tests.unit.users import belongs_to


def put(folder: Path) -> Path:
    """Makes a whole toolchain."""
    for program in toolchain.PROGRAMS:
        (folder / program).parent.mkdir(parents=True, exist_ok=True)
        (folder / program).write_text("#!/bin/sh\n")
    return folder


def test_nothing_there_is_one_error_with_a_remedy() -> None:
    with pytest.raises(MachineError, match="toolchain is not there: run `ephemera setup`"):
        toolchain.located()


def test_located_names_engine_and_home_of_the_plugin() -> None:
    folder = put(toolchain.toolchain_dir())
    found = toolchain.located()
    assert found.pulumi == folder / "bin" / "pulumi"
    assert found.bin_dir == found.pulumi.parent
    assert (found.pulumi_home / "plugins" / "resource-docker-v5.2.0" / "pulumi-resource-docker").exists()


@pytest.mark.parametrize("planted", ["bin/pulumi", "bin/git", toolchain.PROGRAMS[-1]])
def test_what_another_user_put_there_is_not_run(planted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(toolchain.toolchain_dir()) / planted
    path.touch()
    belongs_to(monkeypatch, {path: 4711})
    with pytest.raises(MachineError, match=f"{path} belongs to user 4711, and this runs as .*: remove {path.parent}"):
        toolchain.located()


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package ``ephemera_toolchain``, installed and empty."""
    folder = tmp_path / "site-packages" / "ephemera_toolchain"
    folder.mkdir(parents=True)
    monkeypatch.setattr(sys, "path", [str(folder.parent), *sys.path])
    return folder


def test_an_installed_toolchain_is_taken_and_stays(installed: Path) -> None:
    put(installed / toolchain.fingerprint())
    assert BuiltToolchain().check()
    assert toolchain.located().pulumi == toolchain.toolchain_dir() / "bin" / "pulumi"
    for program in toolchain.PROGRAMS:
        (installed / toolchain.fingerprint() / program).unlink()
    assert toolchain.located().pulumi.read_text() == "#!/bin/sh\n"


def test_an_installed_toolchain_of_other_sources_is_not_taken(installed: Path) -> None:
    put(installed / "0123456789abcdef")
    assert not BuiltToolchain().check()
    with pytest.raises(MachineError, match="toolchain is not there"):
        toolchain.located()
