from __future__ import annotations

import os
import queue
import signal
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from ephemera.cli import commands_dev

_SECONDS = 10.0


def test_interrupt_just_before_it_waits_for_changes_ends_it() -> None:
    """A signal that another thread takes interrupts no wait of this one, like one that comes a moment before it."""
    news: queue.SimpleQueue[Any] = queue.SimpleQueue()
    lost: list[bool] = []
    waiting, ended = threading.Event(), threading.Event()

    def strike() -> None:
        waiting.wait()
        os.kill(os.getpid(), signal.SIGINT)
        if not ended.wait(_SECONDS):
            lost.append(True)
            news.put(commands_dev._End("end it all the same"))

    striker = threading.Thread(target=strike)
    striker.start()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        waiting.set()
        with pytest.raises(KeyboardInterrupt):
            commands_dev._Session._next(SimpleNamespace(news=news))  # type: ignore[arg-type]
    finally:
        ended.set()
        striker.join()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        signal.signal(signal.SIGINT, before)
    assert not lost
