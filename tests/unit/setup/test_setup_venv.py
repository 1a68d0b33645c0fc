"""The virtual environment: made from one download, offline, and never half."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ephemera.model.errors import MachineError
from ephemera.setup import venv as room
from ephemera.setup.venv import VirtualEnvironment
from ephemera.setup.work import Work
from tests.unit.users import belongs_to

# Stands in for uv: writes down how it was called and whether the environment before is there, and puts the command and
# its package where an editable install would.
FAKE_UV = """#!/bin/bash
echo "$*" >> "{log}"
ls "{venv}/bin/ephemera" >> "{log}.there" 2>&1
[[ $* != *--require-hashes* || ! -e "{log}.fail" ]] || {{ echo broken wheel; exit 2; }}
[[ $* == *--editable* ]] || exit 0
bin=$(dirname "$(sed 's/.*--python \\([^ ]*\\).*/\\1/' <<< "$*")")
printf '#!%s/python\\nimport sys; print(sys.prefix)\\n' "$bin" > "$bin/ephemera"
chmod +x "$bin/ephemera"
cd "$bin"/../lib/python3*/site-packages
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
        monkeypatch.setattr(room, "pip", self._pip)

    def _pip(self, _work: Work, _what: str, verb: str, *arguments: str) -> None:
        if verb == "download":
            self.downloads += 1
            return
        uv = Path(arguments[arguments.index("--target") + 1]) / "bin" / "uv"
        uv.parent.mkdir(parents=True)
        uv.write_text(FAKE_UV.format(log=self.calls, venv=self.project / ".ephemera" / "venv"))
        uv.chmod(0o755)

    def environment(self) -> VirtualEnvironment:
        return VirtualEnvironment(self.project)

    def make(self) -> None:
        self.environment().run(Work("venv", lambda _: None))


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
    assert subprocess.run([machine.environment().command], capture_output=True, text=True).stdout == said


def test_another_python_that_starts_the_launcher_does_not_make_it_anew(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.make()
    monkeypatch.setattr(sys, "executable", "/opt/conda/bin/python3")
    monkeypatch.setattr(sys, "version", "3.14.1 (conda)")
    assert machine.environment().check()


def test_made_from_within_another_one_it_has_the_interpreters_own(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.make()
    base = machine.environment().python.resolve()
    monkeypatch.setattr(sys, "executable", str(machine.environment().python))
    (machine.project / "requirements-dev.txt").write_text("uv==2 --hash=sha256:0\n")
    machine.make()
    assert machine.environment().python.resolve() == base


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


def test_what_runs_from_it_goes_on_while_it_is_made_anew(machine: Machine) -> None:
    machine.make()
    script = "print(flush=True); input(); import ephemera.command; print('imported')"
    running = subprocess.Popen(
        [machine.environment().python, "-I", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with running:
        assert running.stdout is not None
        running.stdout.readline()
        machine.environment().python.unlink()
        machine.make()
        assert running.communicate("\n")[0] == "imported\n"
    assert "No such file" not in Path(f"{machine.calls}.there").read_text().partition("\n")[2].partition("\n")[2]
    assert sorted(path.name for path in (machine.project / ".ephemera").iterdir()) == ["venv", "venv.stamp"]


def test_a_moved_checkout_gets_one_of_its_own(machine: Machine) -> None:
    machine.make()
    tool = machine.environment().python.with_name("tool")
    tool.write_text(f"#!{machine.environment().python}\n")
    machine.project = machine.project.rename(machine.project.with_name("moved"))
    assert not machine.environment().check()
    machine.make()
    scripts = [path for path in (machine.project / ".ephemera" / "venv" / "bin").iterdir() if not path.is_symlink()]
    assert scripts
    assert not [path for path in scripts if "/project/" in path.read_text() or "partial" in path.read_text()]


def test_an_interpreter_that_does_not_run_is_noticed(machine: Machine) -> None:
    machine.make()
    python = machine.environment().python
    python.unlink()
    python.symlink_to("/bin/false")
    assert not machine.environment().check()
    machine.make()
    assert machine.environment().check()


def test_an_interpreter_of_another_version_is_noticed(machine: Machine) -> None:
    machine.make()
    (library,) = (machine.project / ".ephemera" / "venv" / "lib").iterdir()
    library.rename(library.with_name("python3.10"))
    assert not machine.environment().check()


def test_one_that_is_out_of_date_lends_its_interpreter_to_the_next(machine: Machine) -> None:
    assert machine.environment().interpreter() is None
    machine.make()
    (machine.project / "requirements-dev.txt").write_text("uv==2 --hash=sha256:0\n")
    assert machine.environment().interpreter() == machine.environment().python.resolve()
    machine.environment().python.unlink()
    assert machine.environment().interpreter() is None


def test_two_at_once_make_it_once(machine: Machine) -> None:
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: machine.make(), range(2)))
    assert machine.environment().check()
    assert len(machine.calls.read_text().splitlines()) == 2


def test_one_that_another_user_made_is_refused(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.make()
    belongs_to(monkeypatch, {machine.environment().command: 4711})
    with pytest.raises(
        MachineError, match=r"bin/ephemera belongs to user 4711, and this runs as .*: remove .*ephemera"
    ):
        machine.environment().check()


def test_of_a_checkout_of_another_user_its_own_is_taken(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.make()
    places = (".", ".ephemera", ".ephemera/venv", ".ephemera/venv/bin", ".ephemera/venv/bin/ephemera")
    belongs_to(monkeypatch, {machine.project / place: 4711 for place in places})
    assert machine.environment().check()


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
    (machine.project / "requirements-dev.txt").write_text("uv==1 --hash=sha256:0\n")
    assert machine.environment().check(), "the one before is whole"


def test_a_download_that_fails_says_so(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(room, "pip_command", lambda: (["bash", "-c", "echo Connection refused; exit 1"], {}))
    work = Work("venv", lambda _: None)
    with pytest.raises(MachineError, match=r"the packages cannot be downloaded .*: check the network"):
        room.pip(work, "the packages", "download")


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
