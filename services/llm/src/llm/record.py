"""The last requests that came in, without their headers."""

import json
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

Outcome = Literal["running", "answered", "cut", "aborted"]

_MOST = 100
_LARGEST = 4 * 1024 * 1024


@dataclass
class Seen:
    """A request, and what became of it. `body`: as it came, empty where it was not JSON or not read."""

    number: int
    request_id: str
    method: str
    path: str
    at: str = field(default_factory=lambda: datetime.now(UTC).isoformat().replace("+00:00", "Z"))
    body: bytes = b""
    status: int | None = None
    outcome: Outcome = "running"
    faults: dict[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        return {**vars(self), "body": parsed(self.body) if self.body else None}


class Record:
    """Bounded in number and in size: the oldest go first. `count`: of all that ever came."""

    def __init__(self) -> None:
        self.count = 0
        self._kept: deque[Seen] = deque(maxlen=_MOST)

    def begin(self, request_id: str, method: str, path: str) -> Seen:
        self.count += 1
        seen = Seen(self.count, request_id, method, path)
        self._kept.append(seen)
        return seen

    def keep(self, seen: Seen, body: bytes) -> None:
        """`body` with `seen`, in the place of the oldest ones where there is no room."""
        seen.body = body
        while len(self._kept) > 1 and sum(len(one.body) for one in self._kept) > _LARGEST:
            self._kept.popleft()

    def after(self, number: int) -> list[dict[str, Any]]:
        return [seen.document() for seen in self._kept if seen.number > number]

    def forget(self) -> None:
        self._kept.clear()


def parsed(body: bytes) -> Any:
    """`body` as JSON, as the standard has it: no NaN, no half of a surrogate pair. Raises ValueError."""
    try:
        document = json.loads(body, parse_constant=_refused)
        if b"\\u" in body:
            json.dumps(document, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("nested too deep") from None
    return document


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
