"""Events of a running program, for the driver's live view or Pulumi's own log.

Events are plain dictionaries with a ``type``:

``{"type": "gate", "service", "state": "waiting" | "ready" | "failed", "seconds", "detail"}``
``{"type": "failed", "error": <document of an EphemeraError>}``
``{"type": "building", "message"}``: the last line of a build or pull
``{"type": "notice", "message"}``

The driver adds the events of a timeline (:mod:`ephemera.pulumi.timeline`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

Event = dict[str, Any]

_subscribers: list[Callable[[Event], None]] = []


def subscribe(callback: Callable[[Event], None]) -> None:
    """Call ``callback`` with every event, in the thread that emits it."""
    _subscribers.append(callback)


def emit(event: Event) -> None:
    """Call every subscriber with ``event``."""
    for callback in _subscribers:
        callback(event)


def tell(message: str) -> None:
    """Emit a notice; print it on standard error without a subscriber."""
    if _subscribers:
        emit({"type": "notice", "message": message})
        return
    with suppress(OSError, ValueError):  # a closed stream, or a log on a full disk
        print(f"ephemera: {message}", file=sys.stderr, flush=True)
