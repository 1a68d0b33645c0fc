"""What becomes of the command line, and how an environment that cannot be made is reported."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ephemera.model.errors import MachineError
from ephemera.setup import launch
from ephemera.setup.venv import VirtualEnvironment

ROOT = Path(__file__).parents[3]
DEADLINE_SECONDS = 30


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "pyproject.toml").write_text("[project]\n")
    (folder / "requirements-dev.txt").write_text("pulumi==3.272.0\n")
    (folder / "requirements.txt").write_text("pulumi==3.272.0\n")
    return folder


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["up", "tasker", "--output", "json"], True),
        (["up", "tasker", "--output=json"], True),
        (["up", "tasker", "--output", "table"], False),
        (["test", "tasker", "--", "--output", "json"], False),
    ],
)
def test_json_is_asked_for_before_the_dashes(argv: list[str], expected: bool) -> None:
    assert launch.wants_json(argv) is expected


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def make_ready(*_: Any) -> None:
        raise error

    monkeypatch.setattr(launch, "make_ready", make_ready)


def test_a_failure_is_one_line_and_exit_code_5(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(monkeypatch, MachineError("python has no pip", remedy="install it"))
    assert launch.main(project, ["up", "tasker"]) == 5
    captured = capsys.readouterr()
    assert captured.err == "ephemera: python has no pip: install it\n"
    assert captured.out == ""


def test_a_failure_is_one_json_document_where_that_is_asked_for(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(monkeypatch, MachineError("python has no pip", remedy="install it"))
    assert launch.main(project, ["up", "tasker", "--output", "json"]) == 5
    document = json.loads(capsys.readouterr().out)
    assert document == {"error": {"kind": "machine_not_ready", "message": "python has no pip", "remedy": "install it"}}


def test_an_interrupt_is_exit_code_130(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(monkeypatch, KeyboardInterrupt())
    assert launch.main(project, ["up", "tasker"]) == 130
    assert capsys.readouterr().err.startswith("ephemera: interrupted")


def test_a_wrong_architecture_is_said(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = os.uname()
    monkeypatch.setattr(os, "uname", lambda: os.uname_result((*real[:4], "riscv64")))
    assert launch.main(project, ["ls"]) == 5
    assert capsys.readouterr().err.startswith("ephemera: architecture riscv64 is not supported: use one of")


def test_the_command_takes_over_with_the_time_it_took(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    became: list[tuple[str, Sequence[str], dict[str, str]]] = []

    def execve(path: Path, argv: Sequence[str], env: dict[str, str]) -> None:
        became.append((str(path), argv, env))
        raise SystemExit

    monkeypatch.setattr(os, "execve", execve)
    monkeypatch.setattr(launch, "make_ready", lambda *_: None)
    monkeypatch.setattr(VirtualEnvironment, "interpreter", lambda _: None)
    with pytest.raises(SystemExit):
        launch.main(project, ["up", "tasker", "--", "-k", "x y"])
    path, argv, env = became[0]
    assert path == str(project / ".ephemera" / "venv" / "bin" / "ephemera")
    assert argv == [path, "up", "tasker", "--", "-k", "x y"]
    assert 0 <= float(env["EPHEMERA_READY_SECONDS"]) < 10


def test_an_environment_that_is_out_of_date_is_made_with_the_python_that_it_has(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    became: list[tuple[Path, Sequence[str]]] = []

    def execv(path: Path, argv: Sequence[str]) -> None:
        became.append((path, argv))
        raise SystemExit

    monkeypatch.setattr(os, "execv", execv)
    monkeypatch.setattr(launch, "make_ready", lambda *_: (_ for _ in ()).throw(MachineError("stopped here", remedy="")))
    its = Path("/opt/python3.11/bin/python3.11")
    monkeypatch.setattr(VirtualEnvironment, "interpreter", lambda _: its)
    with pytest.raises(SystemExit):
        launch.main(project, ["ls", "x"])
    assert became == [(its, [str(its), "-X", "ephemera-chosen", str(project / "ephemera"), "ls", "x"])]
    monkeypatch.setattr(sys, "_xoptions", {"ephemera-chosen": True})
    assert launch.main(project, ["ls"]) == 5, "it has been chosen, whatever it takes itself for"
    monkeypatch.setattr(sys, "_xoptions", {})
    monkeypatch.setattr(VirtualEnvironment, "interpreter", lambda _: Path(sys.executable).resolve())
    assert launch.main(project, ["ls"]) == 5


def test_an_old_python_gets_one_line() -> None:
    script = (
        "import runpy, sys\nsys.version_info = (3, 8, 2)\n"
        f"runpy.run_path({str(ROOT / 'ephemera')!r}, run_name='__main__')\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.returncode == 5
    assert result.stderr == "ephemera: Python 3.8 is too old: run this with Python 3.11 or newer\n"


def test_a_reader_that_is_gone_ends_doctor_without_a_word() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    doctor = [sys.executable, str(ROOT / "ephemera"), "doctor", "--help"]
    result = subprocess.run(doctor, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (result.returncode, result.stderr) == (-signal.SIGPIPE, "")


def test_the_machine_room_needs_the_standard_library_only() -> None:
    # -S: no site-packages; -I: no environment. Every module of the room, and what doctor looks at.
    script = (
        "import pkgutil, sys, importlib; sys.path.insert(0, sys.argv[1])\n"
        "import ephemera.setup as room\n"
        "for found in pkgutil.iter_modules(room.__path__): importlib.import_module(f'ephemera.setup.{found.name}')\n"
    )
    result = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script, str(ROOT / "src")], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr


def test_terminated_while_a_step_runs_leaves_no_child(project: Path, home: Path) -> None:
    """The launcher for real, with a pip that never ends."""
    stuck = home / "stuck"
    (stuck / "pip").mkdir(parents=True)
    (stuck / "pip" / "__init__.py").write_text("")
    pipe = home / "pipe"
    os.mkfifo(pipe)
    (stuck / "pip" / "__main__.py").write_text(
        f"import os, time\nwith open({str(pipe)!r}, 'w') as pipe: pipe.write(str(os.getpid()))\ntime.sleep(600)\n"
    )
    script = (
        "import pathlib, sys; sys.path.insert(0, sys.argv[1])\n"
        "from ephemera.setup.launch import main\n"
        "sys.exit(main(pathlib.Path(sys.argv[2]), ['--version']))\n"
    )
    launcher = subprocess.Popen(
        [sys.executable, "-c", script, str(ROOT / "src"), str(project)],
        env={**os.environ, "PYTHONPATH": str(stuck)},
        stderr=subprocess.PIPE,
        text=True,
    )
    with launcher:
        assert launcher.stderr is not None
        assert launcher.stderr.readline() == "virtual environment: started\n"
        pid = pipe.read_text()
        launcher.send_signal(signal.SIGTERM)
        assert launcher.wait(DEADLINE_SECONDS) == 130
    assert not Path(f"/proc/{pid}").exists()
    assert list((home / "cache" / "ephemera" / "wheels").iterdir()) == []
    assert not (project / ".ephemera" / "venv.stamp").exists()
