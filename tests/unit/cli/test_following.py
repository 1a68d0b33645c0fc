from __future__ import annotations

import os
import queue
import signal
import threading

import pytest

from ephemera.cli.following import awaited

_SECONDS = 10.0


def test_interrupt_just_before_it_waits_ends_it() -> None:
    """A signal that another thread takes interrupts no wait of this one, like one that comes a moment before it."""
    coming: queue.SimpleQueue[str] = queue.SimpleQueue()
    lost: list[bool] = []
    waiting, ended = threading.Event(), threading.Event()

    def strike() -> None:
        waiting.wait()
        os.kill(os.getpid(), signal.SIGINT)
        if not ended.wait(_SECONDS):
            lost.append(True)
            coming.put("end it all the same")

    striker = threading.Thread(target=strike)
    striker.start()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        waiting.set()
        with pytest.raises(KeyboardInterrupt):
            awaited(coming)
    finally:
        ended.set()
        striker.join()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        signal.signal(signal.SIGINT, before)
    assert not lost
