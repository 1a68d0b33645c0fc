"""The virtual environment: made from one download, offline, and never half."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ephemera.contract.errors import MachineError
from ephemera.machine import venv as room
from ephemera.machine.venv import VirtualEnvironment
from ephemera.machine.work import Children, Work

# Stands in for uv: writes down how it was called, and puts the command and its package where an editable install would.
FAKE_UV = """#!/bin/bash
echo "$*" >> "{log}"
[[ $* != *--require-hashes* || ! -e "{log}.fail" ]] || {{ echo broken wheel; exit 2; }}
[[ $* == *--editable* ]] || exit 0
printf '#!/bin/sh\\n' > "{venv}/bin/ephemera"
cd {venv}/lib/python3*/site-packages
mkdir -p ephemera/warm
echo 'def import_all(): import ephemera.command' > ephemera/warm/server.py
echo 'pass' > ephemera/command.py
"""


class Machine:
    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.project = home / "project"
        self.project.mkdir()
        (self.project / "pyproject.toml").write_text("[project]\n")
        (self.project / "requirements-dev.txt").write_text("uv==1 --hash=sha256:0\n")
        self.calls = home / "uv.log"
        self.downloads = 0
        monkeypatch.setattr(room, "download", self._download)

    def _download(self, _work: Work, _requirements: Path, folder: Path) -> None:
        self.downloads += 1
        folder.mkdir()
        script = FAKE_UV.format(log=self.calls, venv=self.project / ".ephemera" / "venv")
        with zipfile.ZipFile(folder / "uv-1-py3-none-any.whl", "w") as wheel:
            wheel.writestr("uv-1.data/scripts/uv", script)

    def environment(self) -> VirtualEnvironment:
        return VirtualEnvironment(self.project)

    def make(self) -> None:
        self.environment().run(Work("venv", lambda _: None, Children()))


@pytest.fixture
def machine(home: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(home, monkeypatch)


def test_it_is_made_and_then_known(machine: Machine) -> None:
    assert not machine.environment().check()
    machine.make()
    assert machine.environment().check()
    said = subprocess.run(
        [machine.environment().python, "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True
    ).stdout
    assert said.strip() == str(machine.project / ".ephemera" / "venv")


def test_the_install_is_offline_and_by_hash(machine: Machine) -> None:
    machine.make()
    locked, editable = machine.calls.read_text().splitlines()
    assert "--offline" in locked
    assert "--no-index" in locked
    assert "--require-hashes" in locked
    assert "--offline" in editable
    assert f"--editable {machine.project}" in editable


def test_what_commands_import_is_compiled_wherever_others_do_not(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    machine.make()
    assert list((machine.project / ".ephemera" / "venv").rglob("ephemera/__pycache__/command.*.pyc"))


def test_the_wheels_are_downloaded_once(machine: Machine) -> None:
    machine.make()
    (machine.project / ".ephemera" / "venv.stamp").unlink()
    machine.make()
    assert machine.downloads == 1


@pytest.mark.parametrize("changed", ["pyproject.toml", "requirements-dev.txt"])
def test_a_changed_input_makes_it_stale(machine: Machine, changed: str) -> None:
    machine.make()
    (machine.project / changed).write_text("[other]\n")
    assert not machine.environment().check()


def test_a_changed_setting_of_a_tool_does_not(machine: Machine) -> None:
    machine.make()
    (machine.project / "pyproject.toml").write_text("[project]\n[tool.ruff]\nline-length = 100\n[tool.mypy]\n")
    assert machine.environment().check()


def test_an_environment_of_other_requirements_is_brought_up_to_date_in_place(machine: Machine) -> None:
    machine.make()
    kept = machine.project / ".ephemera" / "venv" / "in-use"
    kept.write_text("")
    (machine.project / "requirements-dev.txt").write_text("uv==2 --hash=sha256:0\n")
    machine.make()
    assert kept.exists()
    assert machine.downloads == 2


def test_an_interrupted_one_is_made_anew(machine: Machine) -> None:
    half = machine.project / ".ephemera" / "venv" / "bin"
    half.mkdir(parents=True)
    (half / "ephemera").write_text("half")
    (half / "python").symlink_to(sys.executable)
    (half / "left").write_text("")
    assert not machine.environment().check()
    machine.make()
    assert not (half / "left").exists()


def test_a_failed_install_is_not_taken_for_done(machine: Machine) -> None:
    machine.make()
    (machine.project / "requirements-dev.txt").write_text("uv==2 --hash=sha256:0\n")
    Path(f"{machine.calls}.fail").write_text("")
    with pytest.raises(MachineError, match=r"virtual environment cannot be made \(broken wheel\): delete .*full log"):
        machine.make()
    assert not machine.environment().check()
    assert not (machine.project / ".ephemera" / "venv.stamp").exists()


def test_a_removed_interpreter_is_noticed(machine: Machine) -> None:
    machine.make()
    machine.environment().python.unlink()
    assert not machine.environment().check()


def test_a_download_that_fails_says_so(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(room, "pip_command", lambda: (["bash", "-c", "echo Connection refused; exit 1"], {}))
    work = Work("venv", lambda _: None, Children())
    with pytest.raises(MachineError, match=r"the packages of r\.txt cannot be downloaded .*: check the network"):
        room.download(work, Path("r.txt"), machine.project)


def test_the_checkout_locks_what_it_declares() -> None:
    """requirements.in repeats the dependencies of pyproject.toml, for tools that know files only."""
    import tomllib

    root = Path(__file__).parents[3]
    declared = set(tomllib.loads((root / "pyproject.toml").read_text())["project"]["dependencies"])
    listed = {line for line in (root / "requirements.in").read_text().splitlines() if line and not line.startswith("#")}
    assert declared <= listed
    assert {line.split(">")[0] for line in listed - declared} == {"editables", "hatchling"}
    for name in ("requirements.txt", "requirements-dev.txt"):
        lock = (root / name).read_text()
        assert "://" not in lock
        assert lock.count("--hash=sha256:") > lock.count("==")
