"""One build on the engine: its context sent, its progress reported, its failure explained.

BuildKit's progress comes as ``StatusResponse`` messages of its control API. Their fields by number:
https://github.com/moby/buildkit/blob/master/api/services/control/control.proto
"""

from __future__ import annotations

import base64
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

from ephemera.images import reach
from ephemera.images.build_errors import ImageBuildError, explained

if TYPE_CHECKING:
    import docker

_OUTPUT_LINES = 30
_LAST_LINES = 8
"""Of a failed step's output: those that tell its cause."""
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_EXIT_CODE = re.compile(r"(exit code: \d+)\s*$")
_HINTS = {
    "no active sessions": "a build is given no secrets and no SSH agent: leave out its `--mount=type=secret` or "
    "`type=ssh`, and COPY what they fetch, or build the image elsewhere",
    "unknown flag|unknown instruction|dockerfile parse error": "Docker {version} does not understand {needs}: update "
    "it (23.0 has heredocs and --link), or begin the Dockerfile with `# syntax=docker/dockerfile:1` where a registry "
    "answers",
    "failed to read downloaded context": "BuildKit of Docker {version} takes no build context with the containerd "
    "image store: update to 27.5",
}
"""What to do, by what BuildKit says."""

_TRACE = "moby.buildkit.trace"
"""Id of the events that hold a message of BuildKit's."""
# Fields of StatusResponse, of a Vertex (a step), and of a VertexLog (a piece of its output).
_VERTEXES, _LOGS = 1, 3
_DIGEST, _NAME, _STARTED, _ERROR = 1, 3, 5, 7
_VERTEX, _MESSAGE = 1, 4


@dataclass
class Build:
    """One build: its progress, and its error if it fails. ``needs``: what of its Dockerfile only BuildKit understands,
    if anything."""

    client: docker.DockerClient
    name: str
    needs: str
    arguments: Mapping[str, str]
    report: Callable[[str], None]
    step: str = "its start"
    output: deque[str] = field(default_factory=lambda: deque(maxlen=_OUTPUT_LINES))
    trace: Trace = field(default_factory=lambda: Trace())

    def run(self, parameters: Mapping[str, str], archive: IO[bytes]) -> None:
        """Send the engine a packed context and report each line of progress; raise :class:`ImageBuildError` on failure.

        ``parameters``: those of the engine's ``POST /build``; ``t`` is the reference.
        """
        from docker.errors import APIError
        from requests.exceptions import ConnectionError as BrokenConnectionError
        from requests.exceptions import Timeout

        # docker-py's own method is for the classic builder, and sends it every credential that the user has.
        api = self.client.api
        headers = {"Content-Type": "application/x-tar"}
        try:
            # Closing the response stops an interrupted build.
            with closing(
                api._post(api._url("/build"), data=archive, params=parameters, headers=headers, stream=True)
            ) as response:
                api._raise_for_status(response)
                for event in api._stream_helper(response, decode=True):
                    if "error" in event:
                        self._say(self.trace.rest())
                        raise self._failed(event["error"])
                    of_buildkit = event.get("id") == _TRACE
                    self._say(self.trace.lines(event) if of_buildkit else [event.get("stream", "")])
                self._say(self.trace.rest())
        except APIError as error:
            raise self._failed(error.explanation or str(error)) from error
        except (Timeout, BrokenConnectionError) as error:
            if "timed out" not in str(error):
                raise
            raise self._failed(f"it said nothing for {api.timeout // 60} minutes") from error
        if not api.images(name=parameters["t"]):
            raise self._failed("the engine ended it without a word")

    def _failed(self, cause: str) -> ImageBuildError:
        """Return the error for a build that failed at the step that it is at."""
        output = tuple(self.output)
        last = output[-_LAST_LINES:]
        remedy = reach.remedy(last, self.arguments)
        for said, hint in _HINTS.items() if self.needs else ():
            if re.search(said, cause, re.IGNORECASE):
                remedy = hint.format(version=self.client.version().get("Version", ""), needs=self.needs)
        if ended := _EXIT_CODE.search(cause):
            cause = f"its command ended with {ended[1]}"  # BuildKit repeats the command, which is in the step
        explanation = explained(self.client, " ".join(cause.split()), remedy, last)
        return ImageBuildError(self.name, self.trace.failed or self.step, *explanation, output)

    def _say(self, told: Iterable[str]) -> None:
        for line in _COLOUR.sub("", "\n".join(told)).splitlines():
            if line.strip():
                self.output.append(line.rstrip())
                self.report(f"{self.name}: {line.strip()}")
            if line.startswith("Step "):
                self.step = line.strip()


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
