"""Read the progress of a BuildKit build, which the engine sends as ``StatusResponse`` messages of its control API.

Fields by number: https://github.com/moby/buildkit/blob/master/api/services/control/control.proto
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

TRACE = "moby.buildkit.trace"
"""Id of the events that hold such a message."""

# Fields of StatusResponse, of a Vertex (a step), and of a VertexLog (a piece of its output).
_VERTEXES, _LOGS = 1, 3
_DIGEST, _NAME, _STARTED, _ERROR = 1, 3, 5, 7
_VERTEX, _MESSAGE = 1, 4


@dataclass
class Trace:
    """The progress of one build so far. ``failed``: name of the step that failed."""

    failed: str = ""
    _started: set[bytes] = field(default_factory=set)
    _unfinished: dict[bytes, bytes] = field(default_factory=dict)

    def lines(self, event: dict[str, Any]) -> Iterator[str]:
        """Yield what an event adds: a line for each step that begins, and the lines of their output."""
        for number, value in _fields(base64.b64decode(event.get("aux", ""))):
            if number == _VERTEXES:
                yield from self._step(dict(_fields(value)))
            elif number == _LOGS:
                yield from self._output(dict(_fields(value)))

    def rest(self) -> Iterator[str]:
        """Yield the output that ended without a newline."""
        for text in self._unfinished.values():
            yield text.decode(errors="replace")
        self._unfinished.clear()

    def _step(self, vertex: dict[int, bytes]) -> Iterator[str]:
        name = vertex.get(_NAME, b"").decode(errors="replace")
        if _STARTED in vertex and vertex[_DIGEST] not in self._started:
            self._started.add(vertex[_DIGEST])
            if name.startswith("[") and not name.startswith("[internal]"):
                yield f"Step {name}"  # as the classic builder reports it
        # A step that was cancelled because another one failed is not the cause.
        if _ERROR in vertex and b"context canceled" not in vertex[_ERROR]:
            self.failed = name

    def _output(self, log: dict[int, bytes]) -> Iterator[str]:
        step = log[_VERTEX]
        *lines, rest = (self._unfinished.pop(step, b"") + log.get(_MESSAGE, b"")).split(b"\n")
        if rest:
            self._unfinished[step] = rest
        yield from (line.decode(errors="replace") for line in lines)


def _fields(message: bytes) -> list[tuple[int, Any]]:
    """Return the fields of a protobuf message by number: texts and messages as bytes."""
    from google.protobuf.empty_pb2 import Empty
    from google.protobuf.unknown_fields import UnknownFieldSet

    return [(each.field_number, each.data) for each in UnknownFieldSet(Empty.FromString(message))]
