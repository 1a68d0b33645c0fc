"""Processes of this machine, told apart by more than their number, which is used again.

A process is identified by its start time as the kernel counts it (ticks since boot, which setting the clock does not
move), the boot, the namespaces of PIDs and of time, and the host. A process of another namespace or host cannot be
judged from here: it is neither alive nor dead, as far as this process can tell.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Annotated, ClassVar, Literal

import psutil
from pydantic import ConfigDict, Field

from ephemera.host import surroundings

_PROC = Path("/proc")
_MACHINE_ID = Path("/etc/machine-id")
_STARTED_FIELD = 19
"""Index of ``starttime`` in ``/proc/<pid>/stat`` behind the command's name, which may hold spaces (proc(5))."""

Fate = Literal["alive", "dead", "unknown"]


@dataclass(frozen=True, kw_only=True)
class ProcessId:
    """One process for all time. ``ticks``: its start, in clock ticks since boot; ``boot``: id of that boot;
    ``namespace``: of its number and its ticks; ``host``: name and id of the machine. Earlier records have no ``boot``.
    """

    __pydantic_config__: ClassVar = ConfigDict(strict=True)

    pid: Annotated[int, Field(gt=0, lt=2**31)]
    ticks: int = 0
    boot: str = ""
    namespace: str = ""
    host: str = ""

    @staticmethod
    def of(pid: int | None = None) -> ProcessId:
        """Identify this process, or the one with ``pid``. Raises ``psutil.NoSuchProcess`` when there is none."""
        found = ProcessId.of_started(os.getpid() if pid is None else pid)
        if found.ticks < 0:
            raise psutil.NoSuchProcess(found.pid)
        return found

    @staticmethod
    def of_started(pid: int) -> ProcessId:
        """Identify a process that was just started; one that has ended already is dead."""
        ticks = _ticks(pid)
        here = {"boot": _boot(), "namespace": _namespace(), "host": _host()}
        return ProcessId(pid=pid, ticks=-1 if ticks is None else ticks, **here)

    def fate(self) -> Fate:
        """Return whether it runs; a zombie does not. ``unknown`` for a process that cannot be seen from here."""
        if self.visible():
            return "alive" if self._in_table() and not _is_zombie(self.pid) else "dead"
        # A process does not survive a reboot. Another host's boot says nothing.
        return "dead" if self.boot and self.host == _host() and self.boot != _boot() else "unknown"

    def visible(self) -> bool:
        """Return whether its number has the same meaning here as where it was identified."""
        return (self.boot, self.namespace) == (_boot(), _namespace())

    def _in_table(self) -> bool:
        """Return whether its number is still its own; a zombie keeps it."""
        return _ticks(self.pid) == self.ticks

    def alive(self) -> bool:
        """Return whether it certainly runs."""
        return self.fate() == "alive"

    def dead(self) -> bool:
        """Return whether it certainly does not run any more."""
        return self.fate() == "dead"


@cache
def _boot() -> str:
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()


@cache
def _host() -> str:
    identifier = _MACHINE_ID.read_text().strip() if _MACHINE_ID.is_file() else ""
    return f"{socket.gethostname()}/{identifier}"


def _namespace() -> str:
    """Return the namespaces that numbers and ticks are counted in; kernels before 5.6 have none of time."""
    spaces = (_PROC / "self/ns" / name for name in ("pid", "time"))
    return " ".join(space.readlink().name for space in spaces if space.is_symlink())


def _stat(pid: int) -> list[str]:
    """Return the fields of ``/proc/<pid>/stat`` from the state on; empty when there is no such process."""
    try:
        return (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _ticks(pid: int) -> int | None:
    fields = _stat(pid)
    return int(fields[_STARTED_FIELD]) if fields else None


def _is_zombie(pid: int) -> bool:
    return _stat(pid)[:1] in ([], ["Z"], ["X"])


def start_detached(
    module: str, arguments: Sequence[str], output: IO[str], environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start ``python -m module`` in a session of its own, which outlives this process and writes to ``output``.

    Set its ``returncode`` unless you wait for it.
    """
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env=surroundings.variables() if environment is None else environment,
        start_new_session=True,
        cwd=os.sep,
    )


def end_group(leader: ProcessId) -> None:
    """SIGKILL the process group that ``leader`` leads, with all descendants that left it, and wait for their end.

    Do nothing if its number is another process's by now. Where the leader died first, only members of its session that
    are younger than it are ended: it did not start the others.
    """
    if not leader.visible():
        return
    if leader._in_table():
        victims = _family(leader.pid)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(leader.pid, signal.SIGKILL)
        _kill(victims)
    if _ticks(leader.pid) is None:
        _kill([each for each in psutil.process_iter() if _left_by(leader, each.pid)])


def _family(pid: int) -> list[psutil.Process]:
    """Return a process and all its descendants; an empty list if it has ended."""
    try:
        process = psutil.Process(pid)
        return [*process.children(recursive=True), process]
    except psutil.NoSuchProcess:
        return []


def _left_by(leader: ProcessId, pid: int) -> bool:
    fields = _stat(pid)
    if not fields:
        return False
    group, session, started = int(fields[2]), int(fields[3]), int(fields[_STARTED_FIELD])
    return group == session == leader.pid and started >= leader.ticks


def end_tree(root: ProcessId) -> None:
    """SIGKILL ``root`` and all its descendants, and wait for their end."""
    if root.alive():
        _kill(_family(root.pid))


def end_marked(variable: str, value: str) -> int:
    """SIGKILL every process whose environment sets ``variable`` to ``value``, and wait for their end; return how many.

    The variable is inherited: it finds what a killed process had just started, and not yet recorded.
    """
    victims = [process for process in psutil.process_iter() if _marked(process, variable, value)]
    _kill(victims)
    return len(victims)


def _kill(victims: Sequence[psutil.Process]) -> None:
    for victim in victims:
        with contextlib.suppress(psutil.NoSuchProcess):
            victim.kill()
    psutil.wait_procs(victims, timeout=5)


def _marked(process: psutil.Process, variable: str, value: str) -> bool:
    try:
        return process.environ().get(variable) == value
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess, OSError):
        return False
