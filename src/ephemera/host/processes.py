"""Processes of this machine, told apart by pid and start time, because pids are used again."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True, kw_only=True)
class ProcessId:
    """One process for all time. ``started``: seconds since the epoch, as the kernel tells it."""

    pid: int
    started: float

    @staticmethod
    def of(pid: int | None = None) -> ProcessId:
        """This process, or the one with ``pid``."""
        process = psutil.Process(pid)
        return ProcessId(pid=process.pid, started=process.create_time())

    @staticmethod
    def of_started(pid: int) -> ProcessId:
        """The process that was just started; one that nobody is, when it has ended already and left no zombie."""
        try:
            return ProcessId.of(pid)
        except psutil.NoSuchProcess:
            return ProcessId(pid=pid, started=0.0)

    def alive(self) -> bool:
        """Whether it still runs; a zombie does not."""
        try:
            process = psutil.Process(self.pid)
            return _same(process, self) and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False


def pid_alive(pid: int) -> bool:
    """Whether some process has that number now; a zombie does not count."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def start_detached(
    module: str, arguments: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """``python -m module`` in a session of its own, which outlives this process; what it says is added to ``log``.

    Whoever does not wait for it sets its ``returncode``: it is init's when this process is gone.
    """
    with log.open("a") as output:
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
            start_new_session=True,
            cwd=os.sep,
        )


def end_group(leader: ProcessId) -> None:
    """SIGKILL the process group that ``leader`` leads, with all descendants that left it, and wait until it is gone."""
    victims: list[psutil.Process] = []
    try:
        process = psutil.Process(leader.pid)
        if not _same(process, leader):
            return  # its number is another's by now, which it could not be while its group had members
        victims = [*process.children(recursive=True), process]
    except psutil.NoSuchProcess:
        pass  # the leader died first: what it started may live on in its group
    _signal_group(leader.pid)
    _kill(victims)


def _same(process: psutil.Process, identity: ProcessId) -> bool:
    return abs(process.create_time() - identity.started) < 0.05


def end_tree(root: ProcessId) -> None:
    """SIGKILL ``root`` and all its descendants, and wait until they are gone."""
    if not root.alive():
        return
    process = psutil.Process(root.pid)
    _kill([process, *process.children(recursive=True)])


def end_marked(variable: str, value: str) -> int:
    """SIGKILL every process whose environment sets ``variable`` to ``value``, and wait until they are gone; how many.

    A mark is inherited: it finds what a killed process had started a moment before, and had no time to write down.
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


def _signal_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return
