"""Runs steps that make a machine ready, and shows their progress. A step that is done costs its check only."""

from __future__ import annotations

import errno
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol, TextIO

from ephemera.home.paths import state_dir
from ephemera.model.errors import MachineError
from ephemera.setup.work import NEEDS_DISK, CancelledError, Children, Work

_PLAIN_EVERY_SECONDS = 30.0
_NAME_WIDTH = 20
_MARKS = {"": "…", "done": "✓", "stopped": "✗", "failed": "✗"}


class Step(Protocol):
    """One thing the machine must have."""

    @property
    def name(self) -> str:
        """Return what a person calls it; unique."""

    def check(self) -> bool:
        """Return whether it is done, within milliseconds."""

    def run(self, work: Work) -> None:
        """Do it. Interrupted at any point, it leaves nothing that :meth:`check` takes for done."""


def make_ready(
    *chains: Sequence[Step], tell: Callable[[Sequence[str]], None] = lambda _: None, stream: TextIO | None = None
) -> None:
    """Run the steps that are not done: chains side by side, the steps of a chain one after the other.

    The first failure ends the others and is raised. ``tell``: called with the names of the steps that will run, if any;
    ``stream``: shows their progress, stderr by default.
    """
    pending = [undone for chain in chains if (undone := [step for step in chain if not step.check()])]
    if not pending:
        return
    state_dir()  # logs lie there: an unusable one ends this before anything is shown
    tell([step.name for chain in pending for step in chain])
    children, progress = Children(), Progress(stream or sys.stderr)
    with ThreadPoolExecutor(len(pending)) as pool:
        running = {pool.submit(_run, chain, children, progress) for chain in pending}
        try:
            while running:
                ended, running = wait(running, timeout=0.1, return_when=FIRST_COMPLETED)
                for chain in ended:
                    chain.result()
                progress.refresh()
        finally:
            children.cancel()


def _run(chain: Sequence[Step], children: Children, progress: Progress) -> None:
    for step in chain:
        with progress.showing(step.name) as say:
            work = Work(step.name, say, children)
            try:
                step.run(work)
            except OSError as problem:
                remedy = NEEDS_DISK if problem.errno == errno.ENOSPC else "check that path and its permissions"
                raise MachineError(f"{step.name}: {problem}", remedy=remedy) from problem
            if not step.check():
                raise MachineError(f"{step.name} was made but is not usable", remedy=f"see {work.log}")


@dataclass
class _Shown:
    began: float = field(default_factory=time.monotonic)
    told: float = field(default_factory=time.monotonic)
    ended: float | None = None
    outcome: str = ""
    line: str = ""

    def seconds(self) -> float:
        return (self.ended or time.monotonic()) - self.began


class Progress:
    """Progress of steps: on a terminal a line for each, which renews itself, and plain lines elsewhere."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._live = stream.isatty()
        self._steps: dict[str, _Shown] = {}
        self._drawn = 0
        self._lock = threading.Lock()

    @contextmanager
    def showing(self, name: str) -> Iterator[Callable[[str], None]]:
        """Show a step from start to end; yield what takes its latest line."""
        step = _Shown()
        with self._lock:
            self._steps[name] = step
            self._show(f"{name}: started")
        outcome = "failed"
        try:
            # Shown at the next refresh: a build says hundreds of lines a second.
            yield partial(setattr, step, "line")
            outcome = "done"
        except CancelledError:
            outcome = "stopped"
            raise
        finally:
            with self._lock:
                step.ended, step.outcome = time.monotonic(), outcome
                self._show(f"{name}: {outcome} after {step.seconds():.1f} s")

    def refresh(self) -> None:
        """Show the time that has passed: of each step at once on a terminal, else every half minute."""
        with self._lock:
            if self._live:
                self._show("")
                return
            for name, step in self._steps.items():
                if step.ended is None and time.monotonic() - step.told >= _PLAIN_EVERY_SECONDS:
                    step.told = time.monotonic()
                    self._show(f"{name}: {step.seconds():.0f} s, {step.line}")

    def _show(self, plain: str) -> None:
        if not self._live:
            print(plain, file=self._stream, flush=True)
            return
        width = shutil.get_terminal_size().columns
        up = f"\x1b[{self._drawn}A" if self._drawn else ""
        lines = [_line(name, step)[: width - 1] for name, step in self._steps.items()]
        self._stream.write(up + "".join(f"\r\x1b[2K{line}\n" for line in lines))
        self._stream.flush()
        self._drawn = len(lines)


def _line(name: str, step: _Shown) -> str:
    said = "".join(character if character.isprintable() else " " for character in step.line)
    return f"{_MARKS[step.outcome]} {name:<{_NAME_WIDTH}} {step.seconds():6.1f} s  {'' if step.outcome else said}"
