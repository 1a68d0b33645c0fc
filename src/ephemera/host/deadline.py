"""Deadlines: for looking again and again, and for calls that have none.

Such a call runs in a thread that is left behind when its time is over. These threads are daemons: one that never
returns keeps no process alive. A pool's threads would, at exit.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import TypeVar

from ephemera.host import clock

_T = TypeVar("_T")


def begin(work: Callable[[], _T], name: str) -> Future[_T]:
    """Start ``work`` in a thread called ``name``; the future has what it returns or raises."""
    future: Future[_T] = Future()
    future.set_running_or_notify_cancel()  # from here on, whoever stops waiting cannot cancel it

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            future.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future


def within(seconds: float, work: Callable[[], _T], name: str) -> _T:
    """Return what ``work`` returns; raise :class:`TimeoutError` when it takes longer than ``seconds``."""
    return begin(work, name).result(timeout=seconds)


def turns(seconds: float, interval_seconds: float) -> Iterator[None]:
    """Yield at once and after each pause, until ``seconds`` have passed: for looking again and again."""
    deadline = clock.monotonic() + seconds
    while True:
        yield
        if clock.monotonic() >= deadline:
            return
        time.sleep(interval_seconds)
