"""Whatever ends the command, what it created is gone: Ctrl-C, SIGTERM, and SIGKILL with the guardian's help."""

from __future__ import annotations

import signal
import subprocess

import docker
import pytest

from tests.driver_command import until

from .conftest import Ephemera

_DEADLINE_SECONDS = 15


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_while_coming_up(ephemera: Ephemera, number: signal.Signals) -> None:
    process = ephemera.start("up", "web", "-c", "behaviour=deaf", "-c", "ready_seconds=100")
    until(lambda: ephemera.running(), 60)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "interrupted" in output
    assert ephemera.left() == []


def test_killed_while_coming_up(ephemera: Ephemera) -> None:
    process = ephemera.start("up", "web", "-c", "behaviour=deaf", "-c", "ready_seconds=100")
    until(lambda: ephemera.running(), 60)
    _kill(process)
    until(lambda: ephemera.left() == [], _DEADLINE_SECONDS)


def test_killed_before_anything_is_there(ephemera: Ephemera) -> None:
    process = ephemera.start("up", "web")
    until(lambda: any("leases" in item for item in ephemera.left()), 60)
    _kill(process)
    until(lambda: ephemera.left() == [], _DEADLINE_SECONDS)


def test_killed_while_the_tests_run(ephemera: Ephemera) -> None:
    (ephemera.project / "tests" / "test_slow.py").write_text(
        "import pathlib, threading\n\ndef test_slow(environment):\n"
        "    pathlib.Path('started').touch()\n    threading.Event().wait(100)\n"
    )
    process = ephemera.start("run", "web")
    until((ephemera.project / "started").exists, 90)
    _kill(process)
    until(lambda: ephemera.left() == [], _DEADLINE_SECONDS)


def test_pytest_itself_killed(ephemera: Ephemera) -> None:
    (ephemera.project / "tests" / "test_dies.py").write_text(
        "import os, signal\n\ndef test_dies(environment, environment_factory):\n"
        "    environment_factory()\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    command = [*ephemera.command()[:1], "-m", "pytest", "tests/test_dies.py"]
    done = subprocess.run(
        command, cwd=ephemera.project, env=ephemera.variables, capture_output=True, timeout=120, check=False
    )
    assert done.returncode == -signal.SIGKILL
    until(lambda: ephemera.left() == [], _DEADLINE_SECONDS)


def test_a_living_environment_survives_the_kill_of_an_update(ephemera: Ephemera) -> None:
    assert ephemera("up", "web", "--profile", "extra").code == 0
    process = ephemera.start("up", "web", "-c", "behaviour=deaf", "-c", "ready_seconds=100")
    until(lambda: _log(f"{ephemera.stack('web')}-web").endswith("thinking\n"), 60)
    _kill(process)
    until(lambda: not any("locks" in item for item in ephemera.left()), _DEADLINE_SECONDS)
    mended = ephemera("up", "web", "-c", "behaviour=serve")
    assert mended.code == 0, mended.err
    assert ephemera("down").code == 0
    assert ephemera.left() == []


def _kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate(timeout=10)


def _log(container: str) -> str:
    client = docker.from_env()
    try:
        return str(client.containers.get(container).logs().decode())
    except docker.errors.APIError:
        return ""
    finally:
        client.close()
