"""A deadline for calls that have none: each runs in a thread that is left behind when its time is over.

The threads are daemons: one that never returns keeps no process alive. A pool's threads would, at exit.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

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
