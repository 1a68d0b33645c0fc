"""Processes of this machine, told apart by pid and start time, because pids are used again."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass

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

    def alive(self) -> bool:
        """Whether it still runs; a zombie does not."""
        try:
            process = psutil.Process(self.pid)
            return abs(process.create_time() - self.started) < 0.05 and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False


def end_group(leader: ProcessId) -> None:
    """SIGKILL the process group that ``leader`` leads, with all descendants that left it, and wait until it is gone."""
    if not leader.alive():
        _signal_group(leader.pid)  # the leader died first: what it started may live on in its group
        return
    victims = psutil.Process(leader.pid).children(recursive=True)
    _signal_group(leader.pid)
    for victim in victims:
        try:
            victim.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(victims, timeout=5)


def _signal_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return
