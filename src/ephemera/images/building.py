"""One build on the engine: its context sent, its progress reported, its failure explained."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from ephemera.images import buildkit, reach
from ephemera.images.errors import ImageBuildError, explained

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
    trace: buildkit.Trace = field(default_factory=buildkit.Trace)

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
                    of_buildkit = event.get("id") == buildkit.TRACE
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
