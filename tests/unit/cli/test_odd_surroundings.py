"""The command where there is no home to keep anything in, or no working directory: one line, and no traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_LAUNCHER = Path(__file__).resolve().parents[3] / "ephemera"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project that holds nothing yet."""
    (tmp_path / "Pulumi.yaml").write_text("name: demo\nruntime: python\n")
    (tmp_path / "pyproject.toml").write_text('[tool.ephemera]\ncatalog = "systems:SYSTEMS"\n')
    return tmp_path


def _run(folder: Path, *command: str, **variables: str) -> tuple[int, str]:
    without = ("HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME")
    env = {name: value for name, value in os.environ.items() if name not in without} | variables
    done = subprocess.run([sys.executable, *command], cwd=folder, env=env, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("command", "home", "told"),
    [
        (("-m", "ephemera", "env"), "/dev/null", "/dev/null/.cache/ephemera cannot be"),
        (("-m", "ephemera", "env"), "here", "HOME is 'here', which is no absolute path"),
        ((str(_LAUNCHER), "ls"), "/dev/null", "/dev/null/.local/state/ephemera cannot be"),
    ],
    ids=["a file", "relative", "a file, for the launcher"],
)
def test_home_that_can_be_none_is_one_line(project: Path, command: tuple[str, ...], home: str, told: str) -> None:
    code, said = _run(project, *command, HOME=home)
    assert code == 5
    assert said.startswith(f"ephemera: {told}")
    assert said.count("\n") == 1


def test_doctor_names_a_home_that_can_be_none(project: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ephemera", "doctor"],
        cwd=project,
        env={"PATH": os.environ["PATH"], "HOME": "/dev/null", "DOCKER_HOST": "tcp://127.0.0.1:1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 5
    assert "Traceback" not in done.stderr
    lines = done.stdout.splitlines()
    assert any(line.startswith("folders ") and "/dev/null/.local/state/ephemera cannot be" in line for line in lines)
    assert any("XDG_CACHE_HOME" in line for line in lines)


@pytest.mark.parametrize("command", ["ls", "up web"])
def test_working_directory_that_is_gone_is_one_line(tmp_path: Path, command: str) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    # As a shell whose folder another one has removed.
    leaves = f"import os, sys; os.rmdir({str(gone)!r}); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    code, said = _run(gone, "-c", leaves, "-m", "ephemera", *command.split(), HOME=str(tmp_path))
    assert (code, said) == (2, "ephemera: the working directory has been deleted: change to one that is there\n")
