"""Progress of a BuildKit build, which the engine sends as ``StatusResponse`` messages of its control API.

They are read field by field: https://github.com/moby/buildkit/blob/master/api/services/control/control.proto
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

TRACE = "moby.buildkit.trace"
"""Id of the events that hold such a message."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
# Fields of StatusResponse, of a Vertex (a step), and of a VertexLog (a piece of its output).
_VERTEXES, _LOGS = 1, 3
_DIGEST, _NAME, _STARTED, _ERROR = 1, 3, 5, 7
_VERTEX, _MESSAGE = 1, 4


@dataclass
class Trace:
    """What the messages of one build came to so far. ``failed``: name of the step that failed."""

    failed: str = ""
    _names: dict[str, str] = field(default_factory=dict)
    _unfinished: dict[str, bytes] = field(default_factory=dict)

    def lines(self, event: dict[str, Any]) -> Iterator[str]:
        """Return what an event adds: a line for each step that begins, and the lines of their output."""
        for number, value in _fields(base64.b64decode(event.get("aux", ""))):
            if number == _VERTEXES:
                yield from self._step(dict(_fields(value)))
            elif number == _LOGS:
                yield from self._output(dict(_fields(value)))

    def rest(self) -> Iterator[str]:
        """Return output that ended without the end of a line."""
        for text in self._unfinished.values():
            yield text.decode(errors="replace")
        self._unfinished.clear()

    def _step(self, vertex: dict[int, bytes]) -> Iterator[str]:
        digest, name = (vertex.get(key, b"").decode(errors="replace") for key in (_DIGEST, _NAME))
        if _STARTED in vertex and digest not in self._names:
            self._names[digest] = name
            if name.startswith("[") and not name.startswith("[internal]"):
                yield f"Step {name}"  # as the classic builder tells
        # What was given up because another step failed is not what failed.
        if _ERROR in vertex and b"context canceled" not in vertex[_ERROR]:
            self.failed = name

    def _output(self, log: dict[int, bytes]) -> Iterator[str]:
        vertex = log.get(_VERTEX, b"").decode(errors="replace")
        *lines, rest = (self._unfinished.pop(vertex, b"") + log.get(_MESSAGE, b"")).split(b"\n")
        if rest:
            self._unfinished[vertex] = rest
        yield from (line.decode(errors="replace") for line in lines)


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Fields of a protobuf message by number; numbers, which nothing here needs, as no bytes."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind, value = tag & 7, b""
        if kind == _VARINT:
            _, at = _varint(message, at)
        elif kind == _BYTES:
            size, at = _varint(message, at)
            value, at = message[at : at + size], at + size
        elif kind in (_FIXED64, _FIXED32):
            at += 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {kind} of protobuf")
        yield tag >> 3, value


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value, shift, at = value | (byte & 0x7F) << shift, shift + 7, at + 1
        if byte < 0x80:
            return value, at
