"""The disk that the state is on: it fills up, turns read-only, and documents on it are damaged."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.driver_command import Done, until
from tests.faults.box import CLEAN_SECONDS, Box, killed
from tests.faults.test_named import run_until

_DISK = "size=8m"
_ENDS_SECONDS = 60


class Disk:
    """A small file system, mounted at ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._filler = folder / "filler"

    def fill(self) -> None:
        """Leave no byte."""
        with self._filler.open("wb", buffering=0) as file, suppress(OSError):  # when there is no room left
            while file.write(b"\0" * 4096):
                pass

    def freeze(self) -> None:
        """Make it read-only, as soon as no process has a file open for writing there."""
        command = ["mount", "-o", "remount,ro,bind", str(self._folder)]
        until(lambda: subprocess.run(command, capture_output=True, check=False).returncode == 0, _ENDS_SECONDS)

    def mend(self) -> None:
        """Make it writable, with room."""
        _run("mount", "-o", "remount,rw,bind", str(self._folder))
        self._filler.unlink(missing_ok=True)


@pytest.fixture
def disk(box: Box) -> Iterator[Disk]:
    """The disk that the state of the box is on, writable again afterwards."""
    folder = box.command.state
    kept = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    _run("mount", "-t", "tmpfs", "-o", _DISK, "tmpfs", str(folder))
    (folder / "ephemera").mkdir(mode=0o700)
    for name, content in kept.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        (folder / name).write_bytes(content)
    disk = Disk(folder)
    yield disk
    disk.mend()
    for process in box.processes():
        process.kill()
    _run("umount", "--lazy", str(folder))
    for name, content in kept.items():
        (folder / name).write_bytes(content)


@pytest.mark.parametrize("trouble", ["fill", "freeze"])
def test_nothing_is_begun(box: Box, disk: Disk, trouble: str) -> None:
    getattr(disk, trouble)()
    done = box.command("up", "box")
    assert (done.code, len(_errors(done))) == (5, 1), done.err
    assert not box.command.running()
    disk.mend()
    assert box.command("ls").code == 0
    box.is_clean(f"disk ({trouble})", "before up")


@pytest.mark.parametrize("trouble", ["fill", "freeze"])
def test_environment_is_used_and_destroyed(box: Box, disk: Disk, trouble: str) -> None:
    assert box.command("up", "box").code == 0
    stack = box.stack
    getattr(disk, trouble)()
    for command in (("outputs",), ("status",), ("ls",)):
        done = box.command(*command)
        assert (done.code, "Traceback" in done.err) == (0, False), done.err
    down = box.command("down", stack)
    assert not [each for each in box.left() if each.startswith(("container", "network", "volume"))]
    if trouble == "fill":  # removing needs no room
        assert down.code == 0, down.err
    else:
        assert (down.code, len(_errors(down))) == (5, 1), down.err
        assert f"{stack} is gone from Docker, but what is recorded of it cannot be dropped" in down.err
    disk.mend()
    if trouble == "freeze":
        assert box.command("down", stack).code == 0
    box.is_clean(f"disk ({trouble})", "down")


def test_owner_while_the_disk_is_full(box: Box, disk: Disk) -> None:
    process = run_until(box, "tests")
    disk.fill()
    killed(process)
    # Its guardian works without a place to write to.
    until(lambda: not box.command.running(), CLEAN_SECONDS)
    disk.mend()
    box.is_clean("owner", "disk (fill)")


@pytest.mark.parametrize(
    "document",
    ["leases/{stack}.json", "addresses.json", "pulumi/.pulumi/stacks/box/{stack}.json", "known/{stack}.json"],
)
@pytest.mark.parametrize("content", [b"", b"\0" * 300, b'{"stack": "another"}'], ids=["empty", "zeros", "another"])
def test_document_that_a_power_cut_damaged(box: Box, document: str, content: bytes) -> None:
    assert box.command("up", "box").code == 0
    stack = box.command.stack("box")
    path = box.command.state / "ephemera" / document.format(stack=stack)
    path.write_bytes(content)
    listed = box.command("ls", "--output", "json")
    assert [each["stack"] for each in listed.json] == [stack]
    assert box.command.running(), "ls takes nothing down"
    up = box.command("up", "box")
    assert up.code == 0 or (up.code, len(_errors(up))) == (3, 1), up.err
    assert box.command.running(), "what was there is not destroyed by an up"
    down = box.command("down", stack)
    assert down.code == 0, down.err
    for aside in (box.command.state / "ephemera").rglob("*.unreadable-*"):
        aside.unlink()
    box.is_clean("the machine", f"while it wrote {Path(document).name}")


def _errors(done: Done) -> list[str]:
    assert "Traceback" not in done.err
    lines = [line for line in done.err.splitlines() if line.startswith("ephemera: ")]
    told = ("kept as ", "stays taken: ", "is not recorded: ")
    return [line for line in lines if not any(part in line for part in told)]


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_ENDS_SECONDS)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
