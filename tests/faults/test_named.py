"""SIGKILL of each process at each step: owner, engine, plugin, guardian, pytest, an xdist worker."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
from pathlib import Path

import pytest

from ephemera.docker.connection import connected
from tests.driver_command import until
from tests.faults.box import CLEAN_SECONDS, Box, Moment, Victim, killed

_ENDS_SECONDS = 60
_LARGE_BYTES = 400 << 20
"""Takes the engine longer to copy than it takes the guardian to remove everything else."""


@pytest.mark.parametrize("moment", ["lease", "build", "network", "volume", "container", "gate", "tests", "destroy"])
def test_owner(box: Box, moment: Moment) -> None:
    process = run_until(box, moment)
    killed(process)
    box.is_clean("owner", moment)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_owner_while_the_engine_writes_a_layer(box: Box, number: signal.Signals) -> None:
    (box.command.project / "service" / "salt").write_bytes(os.urandom(_LARGE_BYTES))
    with connected() as client:
        folder = Path(client.info()["DockerRootDir"]) / "tmp"
    others = set(folder.glob("docker-builder*"))
    process = box.command.start("run", "box")
    assert process.stdout is not None
    assert any("COPY salt" in line for line in process.stdout)
    process.send_signal(number)
    process.wait(_ENDS_SECONDS)
    contexts = set(folder.glob("docker-builder*")) - others
    assert contexts
    # It finishes that layer for nobody, and tells nobody.
    until(lambda: not any(path.exists() for path in contexts), _ENDS_SECONDS)
    box.is_clean("owner" if number == signal.SIGKILL else "owner (Ctrl-C)", "a layer that is written")


@pytest.mark.parametrize(
    ("victim", "moment"),
    # No plugin runs yet during a build.
    [("engine", "build"), *itertools.product(("engine", "plugin"), ("network", "volume", "container"))],
)
def test_engine_and_plugin_while_it_comes_up(box: Box, victim: Victim, moment: Moment) -> None:
    process = run_until(box, moment)
    assert box.kill(victim, process)
    output, _ = process.communicate(timeout=_ENDS_SECONDS)
    assert process.returncode == 3, output
    assert "Traceback" not in output
    assert "ephemera: " in output
    box.is_clean(victim, moment)


@pytest.mark.parametrize("victim", ["engine", "plugin"])
def test_engine_and_plugin_while_it_goes_down(box: Box, victim: Victim) -> None:
    process = run_until(box, "destroy", BOX_ENGINE=os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock"))
    assert box.kill(victim, process)
    output, _ = process.communicate(timeout=_ENDS_SECONDS)
    # What the engine did not do was done by label: the tests had passed, and nothing is left.
    assert process.returncode == 0, output
    assert "removed by label instead" in output
    box.is_clean(victim, "destroy")


@pytest.mark.parametrize("moment", ["gate", "tests"])
def test_guardian_and_then_the_owner(box: Box, moment: Moment) -> None:
    process = run_until(box, moment)
    first = box.lease()
    assert first is not None
    assert first.guardian is not None
    assert box.kill("guardian", process)
    until(lambda: (now := box.lease()) is not None and now.guardian not in (None, first.guardian), CLEAN_SECONDS)
    killed(process)
    box.is_clean("guardian, then owner", moment)


@pytest.mark.parametrize("moment", ["container", "gate", "tests"])
def test_guardian_and_owner_at_once_and_the_next_command_reaps(box: Box, moment: Moment) -> None:
    process = run_until(box, moment)
    process.send_signal(signal.SIGSTOP)  # so that it cannot replace the guardian in between
    assert box.kill("guardian", process)
    killed(process)
    assert box.left()
    done = box.command("reap")
    assert done.code == 0, done.err
    assert "its owner died; gone after" in done.err
    box.is_clean("guardian and owner", moment)


def test_any_next_command_reaps_in_the_background(box: Box) -> None:
    process = run_until(box, "gate")
    process.send_signal(signal.SIGSTOP)
    assert box.kill("guardian", process)
    killed(process)
    assert box.command("ls").code == 0
    box.is_clean("guardian and owner", "gate, then ls")


def test_guardian_while_it_cleans_up(box: Box) -> None:
    process = run_until(box, "gate")
    with box.at("destroy") as wait:
        lease = box.lease()
        killed(process)
        wait()
        assert lease is not None
        assert lease.guardian is not None
        os.kill(lease.guardian.pid, signal.SIGKILL)
    assert box.command("ls").code == 0
    box.is_clean("guardian", "its own clean-up")


def test_suite_of_a_run(box: Box) -> None:
    process = run_until(box, "tests")
    os.kill(int((box.command.project / "testing").read_text()), signal.SIGKILL)
    output, _ = process.communicate(timeout=_ENDS_SECONDS)
    assert process.returncode == 1, output
    box.is_clean("pytest", "tests")


def test_plain_pytest(box: Box) -> None:
    process = _pytest_until_tests(box)
    killed(process)
    box.is_clean("pytest", "tests")


def test_worker_of_xdist(box: Box) -> None:
    process = _pytest_until_tests(box, "-n", "2")
    os.kill(int((box.command.project / "testing").read_text()), signal.SIGKILL)
    output, _ = process.communicate(timeout=_ENDS_SECONDS)
    assert process.returncode == 1, output
    assert "crashed" in output
    assert "is gone after" in output
    box.is_clean("xdist worker", "tests")


def test_controller_of_xdist(box: Box) -> None:
    process = _pytest_until_tests(box, "-n", "2")
    killed(process)
    box.is_clean("xdist controller", "tests")


def test_destroy_by_hand_is_finished_by_its_guardian(box: Box) -> None:
    process = _down_until_destroy(box)
    killed(process)
    box.is_clean("owner", "down")


def test_interrupted_destroy_is_finished_in_the_background(box: Box) -> None:
    process = _down_until_destroy(box)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=_ENDS_SECONDS)
    # It may have been done with it the moment before.
    assert process.returncode == 0 or (process.returncode == 130 and "in the background" in output), output
    box.is_clean("owner (Ctrl-C)", "down")


def test_checkout_that_is_deleted_under_a_run(box: Box) -> None:
    process = run_until(box, "tests")
    moved = box.command.project.rename(box.command.project.with_name("gone"))
    killed(process)
    box.command.project.mkdir()  # only for the count, which looks into it
    box.is_clean("owner", "its checkout gone")
    assert moved.exists()


def run_until(box: Box, moment: Moment, **variables: str) -> subprocess.Popen[str]:
    """Start a run, and return at that moment."""
    patience = {
        "build": {"BOX_BUILD_SECONDS": "60"},
        "gate": {"BOX_DELAY_SECONDS": "60"},
        "tests": {"BOX_TEST_SECONDS": "60"},
    }
    variables = {**patience.get(moment, {}), **variables}
    if moment in ("network", "volume", "container", "gate", "destroy"):
        box.command.variables.update(variables)
        # Its image first: what is waited for is the environment's.
        assert box.command("images", "build", "box").code == 0
    with box.at(moment) as wait:
        process = box.command.start("run", "box", **variables)
        wait()
    return process


def _down_until_destroy(box: Box) -> subprocess.Popen[str]:
    assert box.command("up", "box").code == 0
    with box.at("destroy") as wait:
        process = box.command.start("down")
        wait()
    return process


def _pytest_until_tests(box: Box, *arguments: str) -> subprocess.Popen[str]:
    with box.at("tests") as wait:
        process = box.command.start_pytest("tests", *arguments, BOX_TEST_SECONDS="60")
        wait()
    return process
