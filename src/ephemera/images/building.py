"""Build an image: pack its context, send it to the engine, and follow the build.

Docker's classic builder is used where it understands the Dockerfile: what it leaves are images, which ``images prune``
finds. BuildKit is used elsewhere. The engine takes the same archive for both, so neither Docker's command nor buildx is
needed (docs/adr/0045).
"""

from __future__ import annotations

import errno
import json
import re
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from ephemera.contract import labels
from ephemera.contract.images import ServiceImage
from ephemera.home import identity
from ephemera.host import surroundings
from ephemera.images import buildkit, context, dockerfiles, reach
from ephemera.images.errors import ImageBuildError, explained
from ephemera.images.references import tag
from ephemera.images.registries import Mode

if TYPE_CHECKING:
    import docker

_OUTPUT_LINES = 30
_LAST_LINES = 8
"""Of a failed step's output: those that tell its cause."""
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_BUILDKIT = "2"
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


def bases(image: ServiceImage, arguments: Mapping[str, str], mode: Mode) -> dict[str, str | None]:
    """Return the images that the engine must have before the build, each with the platform that is asked for.

    The engine cannot pull private ones itself: it is sent no credentials.
    """
    text = context.read_dockerfile(image.context, image.dockerfile)
    found = dockerfiles.bases(text, arguments, image.target)
    frontend = dockerfiles.frontend(text)
    if frontend and mode == "registry" and dockerfiles.buildkit_only(text):
        found[frontend] = None
    return found


def build(
    client: docker.DockerClient,
    image: ServiceImage,
    bases: Mapping[str, str],
    mode: Mode,
    report: Callable[[str], None],
) -> str:
    """Build an image and return the reference of what was packed; raise :class:`ImageBuildError` if a step fails.

    ``bases``: references of the images that its build arguments name; the engine has them.
    """
    text = context.read_dockerfile(image.context, image.dockerfile)
    given = {**reach.arguments(text), **image.arguments, **bases}
    reach.refuse_loopback(text, given)
    marks = labels.of_image(image.name, identity.backend_id())
    network = reach.network()
    parameters = {
        "dockerfile": context.dockerfile_path(image.context, image.dockerfile),
        "target": image.target or "",
        "buildargs": json.dumps(given),
        "networkmode": "default" if network == "bridge" else network,
    }
    needs = dockerfiles.buildkit_only(text)
    if needs:
        report(f"{image.name}: built by BuildKit, for {needs}")
        sent = text
        if mode == "local" and dockerfiles.is_official(frontend := dockerfiles.frontend(text)):
            report(f"{image.name}: no registry answers for {frontend}: the frontend in the engine is used")
            sent = dockerfiles.without_frontend(text)
        parameters |= {"version": _BUILDKIT, "labels": json.dumps(marks)}
    else:
        sent = dockerfiles.labelled(text, marks)
        parameters |= {"rm": "1", "forcerm": "1"}
    following = _Following(client, image.name, needs, given, report)
    with tempfile.TemporaryFile(dir=surroundings.temporary()) as archive:
        try:
            reference = tag(image, context.pack(image.context, image.dockerfile, archive, (text, sent)), bases)
            archive.seek(0)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            cause = f"the disk of {surroundings.temporary()} is full"
            raise ImageBuildError(image.name, "packing its context", cause, "make room there") from error
        following.follow({**parameters, "t": reference}, archive)
    if not client.api.images(name=reference):
        raise following.failed("the engine ended it without a word")
    return reference


@dataclass
class _Following:
    """A build at work: its progress, and its error when it fails. ``needs``: what in it only BuildKit understands."""

    client: docker.DockerClient
    name: str
    needs: str
    arguments: Mapping[str, str]
    report: Callable[[str], None]
    step: str = "its start"
    output: deque[str] = field(default_factory=lambda: deque(maxlen=_OUTPUT_LINES))
    trace: buildkit.Trace = field(default_factory=buildkit.Trace)

    def follow(self, parameters: Mapping[str, str], archive: IO[bytes]) -> None:
        """Ask the engine for the build and report each line of it; raise :class:`ImageBuildError` when it fails."""
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
                        raise self.failed(event["error"])
                    of_buildkit = event.get("id") == buildkit.TRACE
                    self._say(self.trace.lines(event) if of_buildkit else [event.get("stream", "")])
                self._say(self.trace.rest())
        except APIError as error:
            raise self.failed(error.explanation or str(error)) from error
        except (Timeout, BrokenConnectionError) as error:
            if "timed out" not in str(error):
                raise
            raise self.failed(f"it said nothing for {api.timeout // 60} minutes") from error

    def failed(self, cause: str) -> ImageBuildError:
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
