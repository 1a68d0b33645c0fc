"""The process of a runner's container, without one: what it tells on its streams, and when it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ephemera.in_network.runner_container import read

_PROGRAM = """
import sys
from pathlib import Path
from ephemera.inside import run_suite

folder = Path(sys.argv[1])
run_suite.ROOT = run_suite.RESULTS = folder
run_suite._PROJECT, run_suite._SUMMARY = folder / "project", folder / "summary.json"
run_suite.main()
"""
_WAITS = """
import sys, time, pytest

@pytest.fixture
def held():
    yield
    print("fixture ended")

def test_waits(held):
    print("begun", file=sys.stderr)
    time.sleep(600)
"""


def _start(folder: Path, test: str) -> subprocess.Popen[bytes]:
    (folder / "project").mkdir()
    (folder / "project" / "test_it.py").write_text(test)
    order = {"suite": "test_it.py", "arguments": ["-s"], "coverage": [], "system": "shop", "services": []}
    (folder / "order.json").write_text(json.dumps({**order, "variables": {}}))
    command = [sys.executable, "-u", "-c", _PROGRAM, str(folder)]
    variables = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # no ephemera is installed there
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, env=variables, stdin=pipe, stdout=pipe, stderr=pipe)


def test_it_tells_how_the_suite_ended_and_waits_for_the_driver(tmp_path: Path) -> None:
    process = _start(tmp_path, "def test_passes(): pass")
    assert process.stderr
    account = read(process.stderr.readline().strip())
    assert account is not None
    assert (account.exit_code, account.counts) == (0, {"passed": 1})
    assert [(test.nodeid, test.phase, test.outcome) for test in account.tests] == [
        ("test_it.py::test_passes", "call", "passed")
    ]
    assert (tmp_path / "junit.xml").is_file()
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.1)
    process.communicate(timeout=60)


@pytest.mark.parametrize("end", ["end of input", "SIGTERM"])
def test_pytest_ends_in_order_when_its_outcome_is_not_wanted(tmp_path: Path, end: str) -> None:
    process = _start(tmp_path, _WAITS)
    assert process.stdout
    assert process.stderr
    assert any(line.endswith(b"begun\n") for line in process.stdout)
    if end == "SIGTERM":
        process.terminate()
        account = read(process.stderr.readline().strip())
        assert account is not None
        assert account.exit_code == pytest.ExitCode.INTERRUPTED
    out, _ = process.communicate(timeout=60)
    assert b"fixture ended" in out
