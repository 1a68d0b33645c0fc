"""Tests that change what is around them, and are killed then: the guardian knows what was there when they started."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from tests.driver_command import until
from tests.faults.box import Box

_ENDS_SECONDS = 200  # half a minute on a machine that has nothing else to do
_CHANGES = {
    "no variables": "os.environ.clear()",
    "another home": "os.environ.update(HOME='{elsewhere}', XDG_STATE_HOME='{elsewhere}', XDG_CACHE_HOME='{elsewhere}')",
    "another engine": "os.environ['DOCKER_HOST'] = 'tcp://127.0.0.1:9'",
    "no working directory": "os.chdir(tempfile.mkdtemp()); os.rmdir(os.getcwd())",
}
_TEST = """
import os, tempfile, threading
from pathlib import Path


def test_it_changes_its_surroundings(environment):
    testing = Path("testing").resolve()
    {change}
    testing.write_text(str(os.getpid()))
    threading.Event().wait(float({seconds}))
"""


@pytest.mark.parametrize("name", _CHANGES)
@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "xdist"])
def test_controller_after_a_test_changed_its_surroundings(box: Box, name: str, workers: tuple[str, ...]) -> None:
    process = _started(box, name, 60, *workers)
    process.kill()
    process.wait(10)
    box.is_clean("pytest", f"{name}, {'xdist' if workers else 'alone'}")


@pytest.mark.parametrize("name", _CHANGES)
def test_session_goes_on_to_its_end(box: Box, name: str) -> None:
    process = _started(box, name, 0)
    output, _ = process.communicate(timeout=_ENDS_SECONDS)
    assert process.returncode == 0, output
    assert "is gone after" in output
    box.is_clean("nothing", name)


@pytest.mark.parametrize("name", _CHANGES)
def test_worker_after_a_test_changed_its_surroundings(box: Box, name: str) -> None:
    process = _started(box, name, 60, "-n", "2")
    os.kill(int((box.command.project / "testing").read_text()), signal.SIGKILL)
    output, _ = process.communicate(timeout=_ENDS_SECONDS)
    assert process.returncode == 1, output
    box.is_clean("xdist worker", name)


def _started(box: Box, name: str, seconds: int, *arguments: str) -> subprocess.Popen[str]:
    elsewhere = box.command.project.parent / "elsewhere"
    elsewhere.mkdir()
    change = _CHANGES[name].format(elsewhere=elsewhere)
    test = box.command.project / "tests" / "test_box.py"
    test.write_text(_TEST.format(change=change, seconds=seconds))
    process = box.command.start_pytest("tests", *arguments)
    until(lambda: (box.command.project / "testing").exists() or process.poll() is not None, _ENDS_SECONDS)
    return process
