"""What a running program says of itself, for whoever watches: the driver's live view, or Pulumi's own log.

Events are plain dictionaries with a ``type``:

``{"type": "gate", "service", "state": "waiting" | "ready" | "failed", "seconds", "detail"}``
``{"type": "failed", "error": <document of an EphemeraError>}``
``{"type": "building", "message"}``: the last line of an image that is built or pulled
``{"type": "notice", "message"}``

Besides those the driver reports what a timeline is made of (:mod:`ephemera.driver.timeline`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Event = dict[str, Any]

_subscribers: list[Callable[[Event], None]] = []


def subscribe(callback: Callable[[Event], None]) -> None:
    """Have ``callback`` called with every event, from whatever thread emits it."""
    _subscribers.append(callback)


def watched() -> bool:
    """Whether anybody listens."""
    return bool(_subscribers)


def emit(event: Event) -> None:
    """Tell every subscriber."""
    for callback in _subscribers:
        callback(event)
