from __future__ import annotations

import os
import queue
import signal
import threading
from contextlib import suppress
from typing import Any

import pytest

from ephemera.cli.following import awaited
from ephemera.model.errors import EphemeraError, InputError
from ephemera.pulumi.workspace import Workspace
from tests.unit.cli.conftest import Command

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


def test_interrupt_ends_what_goes_on_after_errors(ephemera: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def find(*_: Any) -> Workspace:
        with suppress(Exception, EphemeraError):  # as in many a library, and where the engine may be in trouble
            os.kill(os.getpid(), signal.SIGINT)
            threading.Event().wait(_SECONDS)
        raise InputError("it went on")

    monkeypatch.setattr(Workspace, "find", find)
    said = ephemera("outputs")
    assert said.exit_code == 130
    assert said.err.strip() == "ephemera: interrupted: what this command created is gone"
