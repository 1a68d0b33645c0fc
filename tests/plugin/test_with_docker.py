"""The plugin against real environments: workers, crashes, and runs beside each other."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from tests.driver_command import Ephemera, until

_GONE_SECONDS = 30  # for the guardian of a process that died
_MANY = """
import os, pathlib, pytest

@pytest.mark.parametrize("number", range(6))
def test_many(environment, number):
    assert environment.http("web").get("/").status_code == 200
    worker = os.environ["PYTEST_XDIST_WORKER"]
    pathlib.Path(f"seen-{worker}-{environment.stack}").touch()
    assert number != 5, "as it should"
"""
_CRASH = """
import os

def test_crashes(environment, environment_factory):
    environment_factory()
    os._exit(9)

def test_next(environment):
    assert environment.http("web").get("/").status_code == 200
"""
# Each tells the other its stack, and goes on when it has heard the other's: both are up at the same time.
_MEET = """
import os, pathlib

def test_meet(environment):
    own, other = pathlib.Path(os.environ["OWN"]), pathlib.Path(os.environ["OTHER"])
    if own < other:
        own.write_text(environment.stack)
        met = other.read_text()
    else:
        met = other.read_text()
        own.write_text(environment.stack)
    assert met != environment.stack
    assert environment.service("web").state() == "running"
    assert environment.http("web").get("/").status_code == 200
"""


def test_workers_share_one_environment(ephemera: Ephemera) -> None:
    _write(ephemera, "test_many.py", _MANY)
    done = ephemera.pytest("-n", "2", "tests/test_many.py", "--ephemera-summary", "summary.json")
    assert done.code == 1, done.out
    seen = [path.name.split("-", 2)[1:] for path in ephemera.project.glob("seen-*")]
    assert {worker for worker, _ in seen} == {"gw0", "gw1"}
    assert len({stack for _, stack in seen}) == 1
    assert done.out.count(" is ready after ") == 1
    assert done.out.count(", nothing left") == 1
    summary = json.loads((ephemera.project / "summary.json").read_text())
    evidence = Path(summary.pop("evidence"))
    assert summary == {"passed": 5, "failed": 1}
    assert "GET / HTTP/1.1" in (evidence / "web.log").read_text()
    assert f"evidence: {evidence}" in done.out
    assert ephemera.left() == []


def test_workers_without_need_of_one_make_none(ephemera: Ephemera) -> None:
    _write(ephemera, "test_many.py", "def test_unit(): pass")
    done = ephemera.pytest("-n", "2", "tests/test_many.py")
    assert done.code == 0, done.out
    assert "ephemera:" not in done.out
    assert ephemera.left() == []


def test_workers_hear_why_it_does_not_come_up(ephemera: Ephemera) -> None:
    _write(ephemera, "test_many.py", _MANY)
    done = ephemera.pytest("-n", "2", "tests/test_many.py", EPHEMERA_BEHAVIOUR="exit")
    assert done.code == 1, done.out
    assert done.out.count("ephemera: evidence: ") == 1
    assert done.out.count("\n  cannot find the config\n") == 6
    assert "Traceback" not in done.out
    assert "lifecycle" not in done.out
    assert ephemera.left() == []


def test_worker_that_crashes_leaves_nothing(ephemera: Ephemera) -> None:
    _write(ephemera, "test_crash.py", _CRASH)
    done = ephemera.pytest("-n", "1", "tests/test_crash.py", "--ephemera-summary", "summary.json")
    assert done.code == 1, done.out
    assert "crashed while running" in done.out
    summary = json.loads((ephemera.project / "summary.json").read_text())
    assert (summary["passed"], summary["failed"]) == (1, 1)
    until(lambda: ephemera.left() == [], _GONE_SECONDS)


def test_ctrl_c_while_workers_wait_for_it(ephemera: Ephemera) -> None:
    _write(ephemera, "test_many.py", _MANY)
    process = ephemera.start_pytest(
        "-n", "2", "tests/test_many.py", EPHEMERA_BEHAVIOUR="deaf", EPHEMERA_READY_SECONDS="100"
    )
    until(ephemera.running, 60)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2, output
    assert ephemera.left() == []


def test_two_runs_at_once_do_not_meet(ephemera: Ephemera) -> None:
    _write(ephemera, "test_meet.py", _MEET)
    pipes = [str(ephemera.project / name) for name in ("one", "two")]
    for pipe in pipes:
        os.mkfifo(pipe)
    runs = [
        ephemera.start_pytest("tests/test_meet.py", OWN=own, OTHER=other) for own, other in (pipes, reversed(pipes))
    ]
    for run in runs:
        output, _ = run.communicate(timeout=120)
        assert run.returncode == 0, output
    assert ephemera.left() == []


def _write(ephemera: Ephemera, name: str, text: str) -> None:
    (ephemera.project / "tests" / name).write_text(text)
