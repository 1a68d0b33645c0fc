"""What a command cannot see from where it is: another Docker engine or namespace, an engine that is run by hand."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ephemera import images
from ephemera.host.processes import ProcessId, end_group
from ephemera.model.images import EngineImage
from tests.driver_command import Done
from tests.engine_daemon import PrivateEngine, private_engine
from tests.faults.box import Box, killed
from tests.faults.test_named import run_until

_ENDS_SECONDS = 90
_PAST = 5.0
"""An expiry, in seconds since the epoch."""
_NAMESPACES = {
    "pid": ["--pid", "--fork", "--mount-proc"],
    "time": ["--time", "--fork", "--boottime=100000"],
    "both": ["--pid", "--time", "--fork", "--mount-proc", "--boottime=100000"],
}


@pytest.fixture(scope="module")
def other() -> Iterator[PrivateEngine]:
    """Another Docker engine, which is empty."""
    with private_engine() as engine:
        yield engine


def test_kept_environment_while_another_engine_is_in_use(box: Box, other: PrivateEngine) -> None:
    assert box.command("up", "box").code == 0
    stack = box.stack
    down = box.command.elsewhere(other.variables, "down", stack)
    assert (down.code, _error(down)) == (2, True), down.err
    assert f"environment '{stack}' is on another Docker engine" in down.err
    assert [each["state"] for each in box.command.elsewhere(other.variables, "ls", "--output", "json").json] == [
        "elsewhere"
    ]
    up = box.command.elsewhere(other.variables, "up", "box")
    assert (up.code, _error(up)) == (2, True), up.err
    _expire(box)
    assert box.command.elsewhere(other.variables, "reap").code == 0
    assert box.command.running(), "all of it runs on"
    reaped = box.command("reap")
    assert (reaped.code, f"{stack}: expired; gone after" in reaped.err) == (0, True), reaped.err
    box.is_clean("DOCKER_HOST", "kept")


def test_owner_and_guardian_while_another_engine_is_in_use(box: Box, other: PrivateEngine) -> None:
    process = run_until(box, "tests")
    process.send_signal(signal.SIGSTOP)  # so that it cannot replace the guardian in between
    assert box.kill("guardian", process)
    killed(process)
    for command in (("ls",), ("reap",)):
        assert box.command.elsewhere(other.variables, *command).code == 0
    assert box.lease() is not None
    assert box.command.running(), "what is elsewhere is not taken for gone"
    assert box.command("reap").code == 0
    box.is_clean("guardian and owner", "DOCKER_HOST of the next command")


def test_environment_whose_engine_is_gone_for_good(box: Box) -> None:
    """Only what is recorded of it can be dropped, and only when that is asked for."""
    python = EngineImage(name="python")
    with private_engine(images.ensure([python], images.mode())[python]) as lost:
        assert box.command.elsewhere(lost.variables, "up", "box").code == 0
    stack = box.stack
    assert box.command("down", stack).code == 2
    done = box.command("down", stack, "--forget")
    assert done.code == 0, done.err
    box.is_clean("the Docker engine", "kept, for good")


@pytest.mark.parametrize("namespace", _NAMESPACES)
def test_living_run_is_not_taken_for_dead_from_another_namespace(box: Box, namespace: str) -> None:
    process = run_until(box, "tests")
    before = box.lease()
    for command in (("ls",), ("reap",)):
        done = _inside(box, _NAMESPACES[namespace], *command)
        assert done.code == 0, done.err
        assert "its owner died" not in done.err
    assert box.command.running()
    assert box.lease() == before
    assert process.poll() is None
    killed(process)
    box.is_clean("owner", f"seen from another {namespace} namespace")


def test_run_of_another_namespace_ends_by_expiry_alone(box: Box) -> None:
    """Neither its owner nor its guardian can be judged from here, so that only time can tell; then all of it goes."""
    with box.at("tests") as wait:
        command = ["unshare", *_NAMESPACES["pid"], "--kill-child", *box.command.command("run", "box")]
        process = _started(box, command, BOX_TEST_SECONDS="60")
        wait()
    killed(process)  # and with it all processes of its namespace: owner, guardian, pytest
    assert box.command("reap").code == 0
    assert box.command.running(), "it may live, as far as can be seen from here"
    _expire(box)
    reaped = box.command("reap")
    assert "expired; gone after" in reaped.err, reaped.err
    box.is_clean("owner", "in another PID namespace")


def test_clock_that_is_set_while_a_run_goes_on(box: Box) -> None:
    """Two days ahead, and back to the year 2000: what runs is told by the kernel's ticks, and in use."""
    fake = shutil.which("faketime")
    assert fake is not None, "make faults installs faketime"
    process = run_until(box, "tests")
    before = box.lease()
    for clock in ("+2d", "2000-01-01 00:00:00"):
        # Not the warm process, which has the right time.
        done = _run(box, [fake, "-f", clock, *box.command.command("reap")], EPHEMERA_WARM="off")
        assert done.code == 0, done.err
    assert box.command.running()
    assert box.lease() == before
    killed(process)
    box.is_clean("owner", "after the clock was set")


def test_group_of_a_number_that_is_used_again() -> None:
    """A leader died, another program got its number and leads a group of its own: that one is spared."""
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as stranger:
        mine = ProcessId.of(stranger.pid)
        for theirs in (
            ProcessId(**{**vars(mine), "ticks": mine.ticks - 100}),
            ProcessId(**{**vars(mine), "namespace": "pid:[1]"}),
            ProcessId(**{**vars(mine), "boot": "another"}),
        ):
            end_group(theirs)
        assert stranger.poll() is None
        end_group(mine)
        assert not mine.alive()


def test_lock_of_an_engine_at_work_outlives_a_failed_up(box: Box) -> None:
    assert box.command("up", "box").code == 0
    stack = box.stack
    script = f'eval "$({" ".join(box.command.command("env"))})" && exec pulumi up --yes --skip-preview --stack {stack}'
    with box.at("gate") as wait:
        by_hand = _started(box, ["bash", "-c", script], BOX_DELAY_SECONDS="20")
        wait()
    locks = _locks(box)
    assert len(locks) == 1
    done = box.command("up", "box", BOX_DELAY_SECONDS="21")
    assert (done.code, "Traceback" in done.err) == (3, False), done.err
    assert _locks(box) == locks, "its owner is at work"
    output, _ = by_hand.communicate(timeout=_ENDS_SECONDS)
    assert by_hand.returncode == 0, output
    assert _locks(box) == []
    assert box.command("down").code == 0
    box.is_clean("nothing", "a second up")


def test_locks_of_the_dead_do_not_block(box: Box) -> None:
    """An empty one, one whose engine's number another program has by now, and one that an engine left at its death."""
    assert box.command("up", "box").code == 0
    folder = _lock_folder(box)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "empty.json").touch()
    reused = {
        "pid": os.getpid(),
        "username": "dev",
        "hostname": socket.gethostname(),
        "timestamp": "2020-01-01T00:00:00Z",
    }
    (folder / "reused.json").write_text(json.dumps(reused))
    os.utime(folder / "reused.json", (_PAST, _PAST))
    with box.at("gate") as wait:
        process = box.command.start("up", "box", BOX_DELAY_SECONDS="30")
        wait()
    assert box.kill("engine", process)
    process.communicate(timeout=_ENDS_SECONDS)
    assert box.command("up", "box").code == 0
    assert _locks(box) == []
    assert box.command("down").code == 0
    box.is_clean("engine", "its lock")


def _inside(box: Box, options: list[str], *arguments: str) -> Done:
    return _run(box, ["unshare", *options, *box.command.command(*arguments)], EPHEMERA_WARM="off")


def _run(box: Box, command: list[str], **variables: str) -> Done:
    process = subprocess.run(
        command,
        cwd=box.command.project,
        env={**box.command.variables, **variables},
        capture_output=True,
        text=True,
        timeout=_ENDS_SECONDS,
        check=False,
    )
    return Done(process.returncode, process.stdout, process.stderr)


def _started(box: Box, command: list[str], **variables: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        command,
        cwd=box.command.project,
        env={**box.command.variables, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    box.command.started.append(process)
    return process


def _expire(box: Box) -> None:
    path = box.command.state / "ephemera" / "leases" / f"{box.stack}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "expires_at": _PAST}))


def _lock_folder(box: Box) -> Path:
    return box.command.state / "ephemera" / "pulumi" / ".pulumi" / "locks" / "organization" / "box" / box.stack


def _locks(box: Box) -> list[Path]:
    return sorted(_lock_folder(box).glob("*.json"))


def _error(done: Done) -> bool:
    lines = [line for line in done.err.splitlines() if line.startswith("ephemera: ")]
    return len(lines) == 1 and "Traceback" not in done.err
