"""What a running program says of itself, for whoever watches: the driver's live view, or Pulumi's own log.

Events are plain dictionaries with a ``type``:

``{"type": "gate", "service", "state": "waiting" | "ready" | "failed", "seconds", "detail"}``
``{"type": "failed", "error": <document of an EphemeraError>}``
``{"type": "building", "message"}``: the last line of an image that is built or pulled
``{"type": "notice", "message"}``

Besides those the driver reports what a timeline is made of (:mod:`ephemera.driver.timeline`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

Event = dict[str, Any]

_subscribers: list[Callable[[Event], None]] = []


def subscribe(callback: Callable[[Event], None]) -> None:
    """Have ``callback`` called with every event, from whatever thread emits it."""
    _subscribers.append(callback)


def emit(event: Event) -> None:
    """Tell every subscriber."""
    for callback in _subscribers:
        callback(event)


def tell(message: str) -> None:
    """Emit a notice; print it on standard error when nothing is subscribed."""
    if _subscribers:
        emit({"type": "notice", "message": message})
        return
    with suppress(OSError, ValueError):  # a closed stream, or a log on a full disk
        print(f"ephemera: {message}", file=sys.stderr, flush=True)
