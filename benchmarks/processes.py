"""A tool as a user starts it: whole processes, their time, their CPU and their memory, with all that they start.

This process adopts what the tools leave running (:func:`adopt_orphans`), so that a detached child counts too.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

READY = b"ready"
"""The line by which a command that holds what it made says that it is ready; the end of its input ends it."""
_PR_SET_CHILD_SUBREAPER = 36
_SAMPLE_SECONDS = 0.05
_ORPHAN_SECONDS = 10.0
_ORPHAN_INTERVAL_SECONDS = 0.01
_INTERRUPT_SECONDS = 60.0
_TAIL_LINES = 12
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, kw_only=True)
class Command:
    """What to run. ``variables``: its whole environment. ``holds``: it goes on after it said that it is ready."""

    argv: Sequence[str]
    variables: Mapping[str, str] = field(default_factory=dict)
    cwd: Path = Path("/")
    holds: bool = False


@dataclass(frozen=True, kw_only=True)
class Measured:
    """From the start of the first process to the end (or readiness) of the last. ``cpu_seconds``: user and system, of
    every process; ``peak_bytes``: the largest sum of their proportional sets, in which what n processes share counts
    for 1/n in each; 0 unless they were watched, which slows them. ``stayed``: processes that are
    there to stay, as daemons do."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    stayed: frozenset[int] = frozenset()


class CommandFailedError(Exception):
    """A command ended with another code than 0, before it was ready, or not at all."""


class Process:
    """A command that runs."""

    def __init__(self, command: Command) -> None:
        self.command = command
        self.code: int | None = None
        self.ready = False
        self.cpu_counted = 0.0
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed when it has ended
        self._popen = subprocess.Popen(
            command.argv,
            stdin=subprocess.PIPE if command.holds else subprocess.DEVNULL,
            stdout=subprocess.PIPE if command.holds else self._said,
            stderr=self._said,
            env=dict(command.variables),
            cwd=command.cwd,
            start_new_session=True,  # Ctrl-C reaches it through us, once
        )
        self.pid = self._popen.pid
        self.pidfd = os.pidfd_open(self.pid)
        self.output = self._popen.stdout.fileno() if self._popen.stdout else None

    def heard(self) -> None:
        """Take what it says."""
        text = os.read(self.output, 4096) if self.output is not None else b""
        self.ready = self.ready or READY in text
        if not text:
            self.output = None

    def ended(self) -> float:
        """Take note of its end; CPU seconds of it and of those that it waited for."""
        _, status, usage = os.wait4(self.pid, 0)
        self.code = self._popen.returncode = os.waitstatus_to_exitcode(status)
        return usage.ru_utime + usage.ru_stime

    def let_go(self) -> None:
        """Tell one that holds what it made that it is to end."""
        if self._popen.stdin:
            with suppress(BrokenPipeError):
                self._popen.stdin.close()

    def failure(self, what: str) -> CommandFailedError:
        """The error for that, with the last lines that it said."""
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").splitlines()[-_TAIL_LINES:]
        return CommandFailedError("\n".join((f"`{' '.join(self.command.argv)}` {what}", *lines)))

    def signal(self, number: signal.Signals) -> None:
        """Send it, and all of its process group, a signal."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def close(self) -> None:
        """Give back what it needed here."""
        os.close(self.pidfd)
        for file in (self._popen.stdin, self._popen.stdout, self._said):
            if file:
                with suppress(BrokenPipeError):
                    file.close()


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER) failed")


def adopted() -> frozenset[int]:
    """What commands have left running."""
    return frozenset(_children(os.getpid()))


def run(
    commands: Sequence[Command], seconds: float, daemons: Collection[int] = (), *, watched: bool = False
) -> tuple[Measured, list[Process]]:
    """Run them side by side until each has ended with 0 or, where it holds, is ready; those that hold are handed on.
    ``daemons``: what stayed of earlier ones, and works for these.

    Raises :class:`CommandFailedError` for the first that does not, or is not done after ``seconds``; none is left then.
    """
    before = _children(os.getpid())
    processes: list[Process] = []
    started = time.monotonic()
    try:
        for command in commands:
            processes.append(Process(command))
        others = before - set(daemons)
        measured = _followed(processes, others, started, seconds, lambda process: process.ready, daemons, watched)
    except BaseException:
        _interrupt(processes)
        raise
    for process in processes:
        if not process.command.holds:
            process.close()
    return measured, [process for process in processes if process.command.holds]


def finish(held: Sequence[Process], seconds: float, *, watched: bool = False) -> Measured:
    """Let go of processes that hold something, and wait until they have ended."""
    before = _children(os.getpid()) - {process.pid for process in held}
    started = time.monotonic()
    try:
        for process in held:
            process.let_go()
        measured = _followed(held, before, started, seconds, lambda _: False, watched=watched)
    except BaseException:
        _interrupt(held)
        raise
    for process in held:
        process.close()
    return measured


def abandon(held: Sequence[Process]) -> None:
    """End processes whose result nobody wants any more."""
    _interrupt(held)


def stop(daemons: Collection[int]) -> None:
    """End what stayed, by SIGTERM, and wait until it is gone."""
    for pid in daemons:
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGTERM)
            os.waitpid(pid, 0)


def _followed(
    processes: Sequence[Process],
    before: set[int],
    started: float,
    seconds: float,
    done: Callable[[Process], bool],
    daemons: Collection[int] = (),
    watched: bool = False,
) -> Measured:
    cpu_before = sum(map(_cpu, daemons))
    idle = {pid: set(_descendants(pid)) for pid in daemons}
    poll = select.poll()
    by_descriptor = {}
    for process in processes:
        for descriptor in (process.pidfd, process.output):
            if descriptor is not None:
                poll.register(descriptor, select.POLLIN)
                by_descriptor[descriptor] = process
    cpu, peak, at = 0.0, 0, started
    while pending := [process for process in processes if process.code is None and not done(process)]:
        for descriptor, _ in poll.poll(_SAMPLE_SECONDS * 1000):
            process, at = by_descriptor[descriptor], time.monotonic()
            if descriptor == process.pidfd:
                cpu += process.ended() - process.cpu_counted
                poll.unregister(descriptor)
                if process.code != 0 or (process.command.holds and not process.ready):
                    raise process.failure(f"ended with {process.code}")
            else:
                process.heard()
                if process.output is None:
                    poll.unregister(descriptor)
        if time.monotonic() - started > seconds:
            raise pending[0].failure(f"was not done after {seconds:g} s")
        if watched:
            peak = max(peak, sum(map(_proportional, _tree(before))))
    for process in processes:
        if process.code is None:
            process.cpu_counted = sum(map(_cpu, _descendants(process.pid)))
            cpu += process.cpu_counted
    cpu += _reap_orphans(known := before | set(daemons) | {process.pid for process in processes})
    _settle(idle)
    return Measured(
        seconds=at - started,
        cpu_seconds=cpu + sum(map(_cpu, daemons)) - cpu_before,
        peak_bytes=peak,
        stayed=frozenset(_children(os.getpid()) - known),
    )


def _settle(idle: Mapping[int, set[int]]) -> None:
    """Wait until the daemons have nothing more at work than they had before."""
    deadline = time.monotonic() + _ORPHAN_SECONDS
    while any(set(_descendants(pid)) - known for pid, known in idle.items()) and time.monotonic() < deadline:
        time.sleep(_ORPHAN_INTERVAL_SECONDS)


def _reap_orphans(known: set[int]) -> float:
    """Wait for what outlived its parent; CPU seconds. One that is to stay (a daemon) is not waited for any longer."""
    cpu = 0.0
    deadline = time.monotonic() + _ORPHAN_SECONDS
    while (orphans := _children(os.getpid()) - known) and time.monotonic() < deadline:
        for pid in orphans:
            with suppress(ChildProcessError):
                ended, _, usage = os.wait4(pid, os.WNOHANG)
                if ended:
                    cpu += usage.ru_utime + usage.ru_stime
        time.sleep(_ORPHAN_INTERVAL_SECONDS)
    return cpu


def _interrupt(processes: Sequence[Process]) -> None:
    """As Ctrl-C does, so that a tool can take down what it made; by force when it takes too long."""
    running = [process for process in processes if process.code is None]
    for process in running:
        process.signal(signal.SIGINT)
        process.let_go()
    deadline = time.monotonic() + _INTERRUPT_SECONDS
    for process in running:
        left = max(0.0, deadline - time.monotonic())
        if not select.select([process.pidfd], [], [], left)[0]:
            process.signal(signal.SIGKILL)
        process.ended()
    for process in processes:
        process.close()


def _tree(before: set[int]) -> Iterator[int]:
    for child in _children(os.getpid()) - before:
        yield from _descendants(child)


def _descendants(pid: int) -> Iterator[int]:
    yield pid
    for child in _children(pid):
        yield from _descendants(child)


def _children(pid: int) -> set[int]:
    found: set[int] = set()
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 - twenty times a second
            with suppress(OSError), open(f"/proc/{pid}/task/{thread}/children") as file:  # noqa: PTH123
                found.update(map(int, file.read().split()))
    return found


def _proportional(pid: int) -> int:
    with suppress(OSError), open(f"/proc/{pid}/smaps_rollup") as file:  # noqa: PTH123
        for line in file:
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def _cpu(pid: int) -> float:
    """User and system time of it and of those that it waited for."""
    with suppress(OSError), open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
        return sum(map(int, file.read().rpartition(")")[2].split()[11:15])) / _TICKS
    return 0.0
