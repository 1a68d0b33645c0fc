"""What forks of the warm process run in these tests."""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

MODULE = __name__


def describe(arguments: list[str]) -> int:
    """Print all that a process can tell of itself, as JSON."""
    print(
        json.dumps(
            {
                "arguments": arguments,
                "argv": sys.argv,
                "environment": dict(os.environ),
                "folder": str(Path.cwd()),
                "path": sys.path,
                "umask": _umask(),
                "descriptors": {path.name: _target(path) for path in Path("/proc/self/fd").iterdir()},
                "signals": {number.name: str(signal.getsignal(number)) for number in signal.Signals},
                "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
                "session": os.getsid(0) == os.getpid(),
                "temporary": tempfile.gettempdir(),
                "threads": [thread.name for thread in threading.enumerate()],
                "streams": [
                    (stream.encoding, stream.errors, stream.line_buffering)
                    for stream in (sys.stdin, sys.stdout, sys.stderr)
                ],
                "zone": time.tzname[0],
                "standard_input": sys.stdin.read(),
            }
        )
    )
    return 0


def end(arguments: list[str]) -> int | None:
    """End in the way that is named."""
    print("before the end")
    ends: dict[str, Callable[[], object]] = {
        "seven": lambda: None,
        "nothing": lambda: None,
        "exit 3": lambda: sys.exit(3),
        "exit": lambda: sys.exit(),
        "exit with a text": lambda: sys.exit("it was all too much"),
        "exception": lambda: json.loads("no JSON"),
        "Ctrl-C": lambda: signal.raise_signal(signal.SIGINT),
        "at once": _end_at_once,
        "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    }
    ends[arguments[0]]()
    return 7 if arguments[0] == "seven" else None


def write(arguments: list[str]) -> int:
    """Print that many bytes, and do not flush."""
    sys.stdout.write("x" * int(arguments[0]))
    return 0


def touch(arguments: list[str]) -> int:
    """Leave a file."""
    Path(arguments[0]).touch()
    return 0


def wait(arguments: list[str]) -> int:
    """Say so, wait for the end of standard input, and end with 4."""
    print("waiting", flush=True)
    sys.stdin.read()
    return 4


def catch(arguments: list[str]) -> int:
    """Say so, wait for a signal, and end with its number."""
    seen: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: seen.append(number))
    print("waiting", flush=True)
    while not seen:
        signal.pause()
    return seen[0]


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _target(path: Path) -> str:
    try:
        return str(path.readlink())
    except FileNotFoundError:
        return ""  # the listing's own


def _end_at_once() -> NoReturn:
    sys.stdout.flush()
    os._exit(9)
