"""The means of a step: a line of progress, child processes that can be ended, a log, locks that can be given up."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from ephemera.home.locks import LockTimeoutError, locked
from ephemera.home.paths import cache_dir, state_dir
from ephemera.model.errors import MachineError

_TERMINATE_SECONDS = 3.0
_TAIL_LINES = 40
NEEDS_DISK = "free some disk space: about 6 GB are needed"
_CAUSES = {
    "No space left on device|ENOSPC|not enough free space": NEEDS_DISK,
    "Temporary failure|Could not resolve|no such host|Network is unreachable|[Cc]onnection refused|"
    "Failed to establish a new connection|i/o timeout|timed out|dial tcp": (
        "check the network, the proxy settings and the package index"
    ),
}
"""What a command says, and the remedy for that."""


class CancelledError(Exception):
    """The work was cancelled: another step failed, or the user interrupted it."""


class CommandFailedError(Exception):
    """A child process failed. ``tail``: its last lines; ``log``: file with all of them."""

    def __init__(self, argv: Sequence[str], code: int, tail: Sequence[str], log: Path) -> None:
        super().__init__(f"{argv[0]} ended with {code}")
        self.code = code
        self.tail = tuple(tail)
        self.log = log

    def as_machine_error(self, what: str, remedy: str) -> MachineError:
        """Return the failure as one line for a person; a known cause (disk, network) replaces ``remedy``."""
        text = "\n".join(self.tail)
        known = (better for signs, better in _CAUSES.items() if re.search(signs, text))
        remedy = next(known, remedy)
        last = next((line.strip() for line in reversed(self.tail) if line.strip()), f"exit code {self.code}")
        return MachineError(f"{what} ({last[:200]})", remedy=f"{remedy} (full log: {self.log})")


class Children:
    """The child processes of this run, each in a process group of its own, so that all can be ended."""

    def __init__(self) -> None:
        self.cancelled = threading.Event()
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[str]] = set()

    @contextmanager
    def started(
        self, argv: Sequence[str], cwd: Path | None, env: Mapping[str, str] | None
    ) -> Iterator[subprocess.Popen[str]]:
        """Start a child; kill it when the block is left before it has ended."""
        with self._lock:
            if self.cancelled.is_set():
                raise CancelledError
            child = subprocess.Popen(
                argv, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                text=True, errors="replace", start_new_session=True,
            )  # fmt: skip
            self._running.add(child)
        with child:
            try:
                yield child
            finally:
                if child.poll() is None:
                    _signal_group(child, signal.SIGKILL)
                with self._lock:
                    self._running.discard(child)

    def cancel(self) -> None:
        """End every child and its descendants, and start no more."""
        with self._lock:
            self.cancelled.set()
            running = list(self._running)
        for child in running:
            _signal_group(child, signal.SIGTERM)
        deadline = time.monotonic() + _TERMINATE_SECONDS
        for child in running:
            with suppress(subprocess.TimeoutExpired):
                child.wait(timeout=max(0.0, deadline - time.monotonic()))
            # Its descendants may outlive the leader of the group.
            _signal_group(child, signal.SIGKILL)


class Work:
    """The means of one step. ``say``: shows its latest line; ``log``: the file with everything its children said."""

    def __init__(self, name: str, say: Callable[[str], None], children: Children | None = None) -> None:
        self.say = say
        self.log = state_dir() / "logs" / f"{name.replace(' ', '-')}.log"
        self._children = children or Children()

    def run(self, argv: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> list[str]:
        """Run a command to its end and return its last lines; raise :class:`CommandFailedError` if it fails."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        tail: deque[str] = deque(maxlen=_TAIL_LINES)
        with self.log.open("a", buffering=1) as log, self._children.started(argv, cwd, env) as child:
            log.write(f"$ {' '.join(argv)}\n")
            assert child.stdout is not None  # noqa: S101  (stdout=PIPE above)
            for line in child.stdout:
                log.write(line)
                if line.strip():
                    tail.append(line.rstrip())
                    self.say(line.strip())
            code = child.wait()
        if self._children.cancelled.is_set():
            raise CancelledError
        if code:
            raise CommandFailedError(argv, code, tail, self.log)
        return list(tail)

    @contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """Hold the user's lock ``name``; while another process has it, say so and wait."""
        path = cache_dir() / "locks" / f"{name}.lock"
        seconds = 0.0
        with ExitStack() as held:
            while True:
                try:
                    held.enter_context(locked(path, timeout_seconds=seconds))
                    break
                except LockTimeoutError:
                    if not seconds:
                        self.say("another ephemera is at it, waiting for it to finish")
                    seconds = 0.2
                    self.pause(0)
            held.callback(path.unlink, missing_ok=True)
            yield

    def pause(self, seconds: float) -> None:
        """Wait that long; raise :class:`CancelledError` as soon as the work is cancelled."""
        if self._children.cancelled.wait(seconds):
            raise CancelledError


def _signal_group(child: subprocess.Popen[str], number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(child.pid, number)
