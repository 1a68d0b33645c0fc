from __future__ import annotations

from ephemera.model import progress


def test_every_subscriber_gets_every_event(events: list[progress.Event]) -> None:
    second: list[progress.Event] = []
    progress.subscribe(second.append)
    try:
        progress.emit({"type": "notice", "message": "one"})
    finally:
        progress._subscribers.remove(second.append)
    assert events == second == [{"type": "notice", "message": "one"}]
