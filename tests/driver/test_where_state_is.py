"""Where the state is, and from where it is looked at: a small disk that fills up, another namespace."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.driver_command import PROJECT, Done, command_in, until

from .conftest import Ephemera

_DEADLINE_SECONDS = 60


@pytest.fixture
def on_a_small_disk(tmp_path: Path) -> Iterator[Ephemera]:
    """The command, with its state on a file system of its own."""
    state = tmp_path / "state"
    state.mkdir()
    _run("mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(state))
    try:
        with command_in(PROJECT, tmp_path) as command:
            yield command
            _run("mount", "-o", "remount,rw,bind", str(state))
    finally:
        _run("umount", "--lazy", str(state))


def test_disk_that_is_full(on_a_small_disk: Ephemera) -> None:
    ephemera = on_a_small_disk
    assert ephemera("up", "web").code == 0
    filler = ephemera.state / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):  # when there is no room left
        while file.write(b"\0" * 4096):
            pass
    other = ephemera("up", "data")
    assert (other.code, len(_errors(other))) == (5, 1), other.err
    assert "No space left on device" in other.err
    assert ephemera("outputs", "web").json["services"]["web"]["endpoints"]["http"]["port"]
    down = ephemera("down", "web")
    assert (down.code, "is gone after" in down.err) == (0, True), down.err
    assert not ephemera.running(), "nothing of either is left on Docker"
    filler.unlink()
    assert ephemera("ls").code == 0
    until(lambda: ephemera.left() == [], _DEADLINE_SECONDS)


def test_disk_that_has_become_read_only(on_a_small_disk: Ephemera) -> None:
    ephemera = on_a_small_disk
    assert ephemera("up", "web").code == 0
    _run("mount", "-o", "remount,ro,bind", str(ephemera.state))
    assert ephemera("outputs", "web").json["services"]["web"]["endpoints"]["http"]["port"]
    other = ephemera("up", "data")
    assert (other.code, len(_errors(other))) == (5, 1), other.err
    down = ephemera("down", "web")
    assert (down.code, len(_errors(down))) == (5, 1), down.err
    assert "is gone from Docker, but what is recorded of it cannot be dropped" in down.err
    assert not ephemera.running()
    _run("mount", "-o", "remount,rw,bind", str(ephemera.state))
    assert ephemera("down", "web").code == 0
    assert ephemera.left() == []


@pytest.mark.parametrize("options", [["--pid", "--mount-proc"], ["--time", "--boottime=100000"]], ids=["pid", "time"])
def test_run_that_is_looked_at_from_another_namespace(ephemera: Ephemera, options: list[str]) -> None:
    (ephemera.project / "tests" / "test_slow.py").write_text(
        "import pathlib, time\n\ndef test_slow(environment):\n"
        "    pathlib.Path('started').touch()\n"
        "    while not pathlib.Path('go').exists():\n        time.sleep(0.05)\n"
    )
    process = ephemera.start("run", "web", "--", "tests/test_slow.py")
    until(lambda: (ephemera.project / "started").exists() or process.poll() is not None, _DEADLINE_SECONDS)
    for arguments in (("ls",), ("reap",)):
        done = _run("unshare", "--fork", *options, *ephemera.command(*arguments), of=ephemera, EPHEMERA_WARM="off")
        assert "its owner died" not in done
    assert ephemera.running()
    (ephemera.project / "go").touch()
    output, _ = process.communicate(timeout=_DEADLINE_SECONDS)
    assert process.returncode == 0, output
    assert ephemera.left() == []


def _errors(done: Done) -> list[str]:
    assert "Traceback" not in done.err
    lines = [line for line in done.err.splitlines() if line.startswith("ephemera: ")]
    return [line for line in lines if "stays taken: " not in line and "is not recorded: " not in line]


def _run(*command: str, of: Ephemera | None = None, **variables: str) -> str:
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=_DEADLINE_SECONDS,
        cwd=of.project if of else None,
        env={**of.variables, **variables} if of else None,
    )
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout + done.stderr
