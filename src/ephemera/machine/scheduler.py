"""Runs steps side by side, each as soon as what it needs is there. A step that is done already costs its check only."""

from __future__ import annotations

import errno
import queue
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Protocol

from ephemera.contract.errors import MachineError
from ephemera.machine.work import NEEDS_DISK, CancelledError, Children, Work


class Step(Protocol):
    """One thing the machine must have."""

    @property
    def name(self) -> str:
        """Return what a person calls it; unique."""

    def needs(self) -> Collection[str]:
        """Return the names of steps that must be done before it runs; called only when it is not done."""

    def check(self) -> bool:
        """Return whether it is done, within milliseconds."""

    def run(self, work: Work) -> None:
        """Do it. Interrupted at any point, it leaves nothing that :meth:`check` takes for done."""


class View(Protocol):
    """Who is told about the progress."""

    def started(self, name: str) -> None:
        """Show that a step runs."""

    def said(self, name: str, line: str) -> None:
        """Show its latest line."""

    def finished(self, name: str, error: str | None) -> None:
        """Show that it is done, or failed."""

    def refresh(self) -> None:
        """Show the time that has passed."""


def make_ready(
    steps: Mapping[str, Step], wanted: Iterable[str], view: View, tell: Callable[[Sequence[str]], None] = lambda _: None
) -> None:
    """Do what is not done of ``wanted`` and of what that needs. The first failure ends the others and is raised.

    ``tell``: called with the names of what is not done, when there is any.
    """
    pending = _pending(steps, wanted)
    if pending:
        tell(tuple(pending))
        _Run(pending, view).to_the_end()


def _pending(steps: Mapping[str, Step], wanted: Iterable[str]) -> dict[str, tuple[Step, frozenset[str]]]:
    """Steps that are not done, each with the undone ones it needs. What only a finished step needs is not looked at."""
    done: set[str] = set()
    needs: dict[str, Collection[str]] = {}
    to_check = list(wanted)
    while to_check:
        name = to_check.pop(0)
        if name in done or name in needs:
            continue
        if steps[name].check():
            done.add(name)
        else:
            needs[name] = steps[name].needs()
            to_check.extend(needs[name])
    return {name: (steps[name], frozenset(needed) - done) for name, needed in needs.items()}


class _Run:
    def __init__(self, pending: dict[str, tuple[Step, frozenset[str]]], view: View) -> None:
        self._waiting = pending
        self._view = view
        self._children = Children()
        self._ended: queue.Queue[tuple[str, BaseException | None]] = queue.Queue()
        self._threads: dict[str, threading.Thread] = {}

    def to_the_end(self) -> None:
        done: set[str] = set()
        try:
            while self._waiting or self._threads:
                for name in [name for name, (_, needs) in self._waiting.items() if needs <= done]:
                    self._start(name, self._waiting.pop(name)[0])
                if not self._threads:
                    raise RuntimeError(f"steps need each other: {', '.join(self._waiting)}")
                try:
                    name, error = self._ended.get(timeout=0.1)
                except queue.Empty:
                    self._view.refresh()
                    continue
                self._threads.pop(name).join()
                self._view.finished(name, None if error is None else str(error))
                if error is not None:
                    raise error
                done.add(name)
        finally:
            self._children.cancel()
            for thread in self._threads.values():
                thread.join()
            self._view.refresh()

    def _start(self, name: str, step: Step) -> None:
        def say(line: str) -> None:
            self._view.said(name, line)

        self._view.started(name)
        thread = threading.Thread(target=self._guarded, args=(step, Work(name, say, self._children)), name=name)
        self._threads[name] = thread
        thread.start()

    def _guarded(self, step: Step, work: Work) -> None:
        error: BaseException | None = None
        try:
            step.run(work)
            if not step.check():
                error = MachineError(f"{step.name} was made but is not usable", remedy=f"see {work.log}")
        except CancelledError as cancelled:
            error = cancelled
        except OSError as problem:
            full = problem.errno == errno.ENOSPC
            remedy = NEEDS_DISK if full else "check that path and its permissions"
            error = MachineError(f"{step.name}: {problem}", remedy=remedy)
        except BaseException as problem:  # noqa: BLE001  (handed to the main thread, which raises it)
            error = problem
        self._ended.put((step.name, error))
