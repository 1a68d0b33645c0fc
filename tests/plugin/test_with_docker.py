"""The plugin against real environments: workers, crashes, and runs beside each other."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import pytest

from tests.driver_command import Ephemera, until

_GONE_SECONDS = 30  # for the guardian of a process that died
_MANY = """
import os, pathlib, pytest

@pytest.mark.parametrize("number", range(8))
def test_many(environment, number):
    assert environment.http("web").get("/").status_code == 200
    worker = os.environ["PYTEST_XDIST_WORKER"]
    pathlib.Path(f"seen-{worker}-{environment.stack}").touch()
    assert number != 5, "as it should"

@pytest.mark.environment("data")
@pytest.mark.parametrize("number", range(8))
def test_other_system(environment, number):
    assert environment.system == "data"
    assert environment.service("postgres").exec(["pg_isready", "-U", "shop"])[0] == 0
"""
_SEED = """
_web.seed = "shop:seed"

def seed(environment):
    import os
    assert "PYTEST_XDIST_WORKER" not in os.environ
    with open("seeded", "a") as file:
        print(environment.http("web").get("/").status_code, environment.stack, file=file)
"""
_CRASH = """
import os, signal

def test_ends(environment, environment_factory):
    environment_factory()
    os._exit(9)

def test_is_killed(environment):
    os.kill(os.getpid(), signal.SIGKILL)

def test_next(environment):
    assert environment.http("web").get("/").status_code == 200
"""
_DIES = """
import os, signal

def test_dies(environment, environment_factory):
    environment_factory()
    {0}
"""
# What sets variables before workers start, and what tests change while theirs run.
_MOVES = """
import os, tempfile
os.environ |= {"HOME": tempfile.mkdtemp(), "XDG_STATE_HOME": tempfile.mkdtemp(), "TMPDIR": "/nonexistent"}
os.environ.pop("PATH", None)
"""
_CHANGES = """
import os, shutil, tempfile, time, pytest
from ephemera.model.errors import EphemeraError

def test_stops_the_clock(environment_factory, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 1e9)
    monkeypatch.setattr(time, "monotonic", lambda: 5.0)
    own = environment_factory()
    web = own.service("web")
    with pytest.raises(EphemeraError, match="did not exit within 0.2 s"):
        web.wait_exit(0.2)
    web.restart(grace_seconds=1)
    web.wait_ready()

def test_leaves_no_working_directory(environment):
    folder = tempfile.mkdtemp(dir="/tmp")
    os.chdir(folder)
    shutil.rmtree(folder)

def test_leaves_no_variables(environment):
    os.environ.clear()

def test_next(environment, environment_factory):
    for each in (environment, environment_factory()):
        each.service("web").restart(grace_seconds=1)
        each.service("web").wait_ready()
        assert each.http("web").get("/").status_code == 200
"""
_SERVICES = """
import datetime, pytest
from ephemera.model.errors import EphemeraError

def fails(call, *arguments, **options):
    with pytest.raises(EphemeraError) as caught:
        call(*arguments, **options)
    return str(caught.value)

def test_commands_and_files(environment):
    web = environment.service("web")
    assert web.exec(["sh", "-c", "echo said; echo wrong >&2; exit 3"]) == (3, "said\\nwrong\\n")
    assert web.exec(["cat"], stdin="hello", timeout_seconds=20) == (0, "hello")
    assert web.exec(["wc", "-c"], stdin=b"x" * 1_000_000)[1].strip() == "1000000"
    assert "did not end `sleep 60` within 0.2 s" in fails(web.exec, ["sleep", "60"], timeout_seconds=0.2)
    web.write_file("/tmp/some", b"\\0\\xff")
    assert web.read_file("/tmp/some") == b"\\0\\xff"
    assert fails(web.read_file, "/none").endswith("cannot read /none: cat: /none: No such file or directory")
    assert "cannot write /etc/some: tee: /etc/some: Read-only file system" in fails(web.write_file, "/etc/some", "x")

def test_logs(environment):
    web, client = environment.service("web"), environment.http("web")
    client.get("/before")
    now = datetime.datetime.now(datetime.UTC)
    client.get("/after")
    assert "/before" in web.logs()
    assert "/before" not in web.logs(since=now)
    assert "/after" in web.logs(since=now)
    assert "/after" in web.logs(tail=1)
    assert web.logs(tail=1, timestamps=True).startswith(f"{now:%Y}-")

def test_broken_and_mended(environment):
    web = environment.service("web")
    assert "did not exit within 0.2 s: it is running" in fails(web.wait_exit, 0.2)
    assert "cannot unpause service 'web'" in fails(web.unpause)
    web.pause()
    assert "it is paused" in fails(web.pause)
    web.unpause()
    web.kill()
    assert web.wait_exit() == 137
    for call in (web.kill, web.pause, lambda: web.exec(["true"])):
        assert "it is exited with exit code 137" in fails(call)
    web.stop()
    web.start()
    web.start()
    web.wait_ready()
    web.restart(grace_seconds=1)
    web.wait_ready()
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


def test_workers_share_one_environment_of_each_system(ephemera: Ephemera) -> None:
    _write(ephemera, "test_many.py", _MANY)
    with (ephemera.project / "shop.py").open("a") as program:
        program.write(_SEED)
    done = ephemera.pytest("-n", "4", "tests/test_many.py", "--ephemera-summary", "summary.json")
    assert done.code == 1, done.out
    seen = [path.name.split("-", 2)[1:] for path in ephemera.project.glob("seen-*")]
    assert len({worker for worker, _ in seen}) > 1
    ((stack,),) = [{stack for _, stack in seen}]
    assert (ephemera.project / "seeded").read_text() == f"200 {stack}\n"
    assert done.out.count(" is ready after ") == 2
    assert done.out.count(", nothing left") == 2
    summary = json.loads((ephemera.project / "summary.json").read_text())
    evidence = Path(summary.pop("evidence"))
    assert summary == {"passed": 15, "failed": 1}
    assert "GET / HTTP/1.1" in (evidence / "web.log").read_text()
    assert f"evidence: {evidence}" in done.out
    assert ephemera.left() == []


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["plain", "workers"])
def test_what_tests_change_loses_and_leaks_no_environment(
    ephemera: Ephemera, tmp_path: Path, workers: tuple[str, ...]
) -> None:
    _write(ephemera, "conftest.py", _MOVES)
    _write(ephemera, "test_changes.py", _CHANGES)
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    done = ephemera.pytest(*workers, "tests/test_changes.py", "--ephemera-summary", "summary.json", TMPDIR=str(deep))
    assert done.code == 0, done.out
    assert done.out.count(" is ready after ") == 1
    assert len(re.findall(r"ephemera: \S+ is gone after \S+ s, nothing left\n", done.out)) == 1
    assert json.loads((ephemera.project / "summary.json").read_text())["passed"] == 4
    assert ephemera.left() == []


def test_workers_without_need_of_one_make_none(ephemera: Ephemera) -> None:
    _write(ephemera, "test_many.py", "def test_unit(): pass")
    done = ephemera.pytest("-n", "2", "tests/test_many.py")
    assert done.code == 0, done.out
    assert "ephemera:" not in done.out
    assert ephemera.left() == []


def test_workers_hear_why_it_does_not_come_up(ephemera: Ephemera) -> None:
    _write(ephemera, "test_many.py", _MANY)
    done = ephemera.pytest("-n", "2", "tests/test_many.py", "-k", "many", EPHEMERA_BEHAVIOUR="exit")
    assert done.code == 1, done.out
    assert done.out.count("ephemera: evidence: ") == 1
    assert done.out.count("\n  cannot find the config\n") == 8
    assert "Traceback" not in done.out
    assert "lifecycle" not in done.out
    assert ephemera.left() == []


def test_workers_that_crash_leave_nothing_and_the_rest_goes_on(ephemera: Ephemera) -> None:
    _write(ephemera, "test_crash.py", _CRASH)
    done = ephemera.pytest("-n", "1", "tests/test_crash.py", "--ephemera-summary", "summary.json")
    assert done.code == 1, done.out
    assert done.out.count("crashed while running") >= 2
    assert done.out.count(" is ready after ") == 1
    summary = json.loads((ephemera.project / "summary.json").read_text())
    assert (summary["passed"], summary["failed"]) == (1, 2)
    until(lambda: ephemera.left() == [], _GONE_SECONDS)


@pytest.mark.parametrize(
    ("death", "code"), [("os._exit(9)", 9), ("os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM)]
)
def test_run_that_dies_leaves_nothing(ephemera: Ephemera, death: str, code: int) -> None:
    _write(ephemera, "test_dies.py", _DIES.format(death))
    done = ephemera.pytest("tests/test_dies.py")
    assert done.code == code, done.out
    until(lambda: ephemera.left() == [], _GONE_SECONDS)


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["plain", "workers"])
def test_ctrl_c_while_it_comes_up(ephemera: Ephemera, workers: tuple[str, ...]) -> None:
    _write(ephemera, "test_many.py", _MANY)
    process = ephemera.start_pytest(
        *workers, "tests/test_many.py", "-k", "many", EPHEMERA_BEHAVIOUR="deaf", EPHEMERA_READY_SECONDS="100"
    )
    until(ephemera.running, 60)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2, output
    assert output.count(" is gone before it was ready, nothing left\n") == 1, output
    assert "evidence" not in output
    assert "Traceback" not in output
    assert ephemera.left() == []


def test_services_are_used_broken_and_mended(ephemera: Ephemera) -> None:
    _write(ephemera, "test_services.py", _SERVICES)
    done = ephemera.pytest("tests/test_services.py")
    assert done.code == 0, done.out
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
