"""One build of an image: its context packed, sent to the engine, and followed to its end.

Docker's classic builder does it where it can: what that leaves is images, which ``images prune`` finds. BuildKit does
what the classic builder does not understand. The engine takes the same archive for both, so that neither Docker's
command nor buildx is needed (docs/adr/0045).
"""

from __future__ import annotations

import json
import re
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import IO, TYPE_CHECKING, Any

from ephemera.contract import labels
from ephemera.contract.errors import ImageError
from ephemera.contract.images import ServiceImage
from ephemera.home import identity
from ephemera.host import surroundings
from ephemera.images import buildkit, context, disk, dockerfiles, reach
from ephemera.images.errors import ImageBuildError, ImageMissingError
from ephemera.images.ignoring import NAME as IGNORE_FILE
from ephemera.images.modes import Mode
from ephemera.images.references import resolve

if TYPE_CHECKING:
    import docker

_OUTPUT_LINES = 30
_TELLING_LINES = 8
"""At the end of a failed step: what its command said last, and what the builder did about it."""
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_BUILDKIT = "2"
_UNKNOWN = re.compile(r"unknown flag|unknown instruction|dockerfile parse error", re.IGNORECASE)
_EXIT_CODE = re.compile(r"(exit code: \d+)\s*$")
_NO_SESSION = "no active sessions"
"""What BuildKit says of a mount that only the client of a build could fill."""
_NO_CONTEXT = "failed to read downloaded context"

Report = Callable[[str], None]


class ContextChangedError(ImageError):
    """Files changed between the hash of a context and its archive: the image's reference is another one by now."""


def bases(image: ServiceImage, arguments: Mapping[str, str], mode: Mode) -> list[dockerfiles.Base]:
    """Return the images that the engine must have before the build: it is sent no credentials to pull them itself."""
    text = context.read_dockerfile(image.context, image.dockerfile)
    found = dockerfiles.bases(text, arguments, image.target)
    frontend = dockerfiles.frontend(text) if dockerfiles.buildkit_only(text) else ""
    return [*found, dockerfiles.Base(reference=frontend)] if frontend and mode == "registry" else found


def build(
    client: docker.DockerClient,
    image: ServiceImage,
    reference: str,
    arguments: Mapping[str, str],
    mode: Mode,
    report: Report,
    *,
    last: bool,
) -> None:
    """Build ``reference``; raise :class:`ImageBuildError` if a step fails, and unless this is the ``last`` try,
    :class:`ContextChangedError` if what was packed is not what the reference says."""
    network = reach.network()
    text = context.read_dockerfile(image.context, image.dockerfile)
    needs = dockerfiles.buildkit_only(text)
    given = {**reach.arguments(text), **arguments}
    reach.refuse_loopback(text, given)
    marks = labels.of_image(image.name, identity.backend_id())
    parameters = {
        "t": reference,
        "dockerfile": context.dockerfile_path(image.context, image.dockerfile),
        "target": image.target or "",
        "buildargs": json.dumps(given),
        "networkmode": "default" if network == "bridge" else network,
    }
    if needs:
        report(f"{image.name}: built by BuildKit, for {needs}")
        text = _with_usable_frontend(image.name, text, mode, report)
        parameters |= {"version": _BUILDKIT, "labels": json.dumps(marks)}
    else:
        text = dockerfiles.labelled(text, marks)
        parameters |= {"rm": "1", "forcerm": "1"}
    following = _Following(client, image.name, needs, given, report)
    with tempfile.TemporaryFile(dir=surroundings.temporary()) as archive:
        _pack(image, text, archive)
        if resolve(image, mode) != reference:
            if not last:
                raise ContextChangedError(f"the context of image {image.name!r} changed while it was packed")
            report(f"{image.name}: files of its context change all the time: name them in {IGNORE_FILE}")
        following.follow(parameters, archive)
    if not client.api.images(name=reference):
        raise following.failed("the engine ended it without a word")


def _pack(image: ServiceImage, dockerfile: str, archive: IO[bytes]) -> None:
    path = context.dockerfile_path(image.context, image.dockerfile)
    replaced = {path: dockerfile.encode(errors="surrogateescape")}
    try:
        context.archive(context.entries(image.context, image.dockerfile), replaced, archive)
        archive.seek(0)
    except OSError as error:
        if full := disk.full_here(error):
            raise ImageBuildError(image.name, "packing its context", full, (), "make room there") from error
        raise


def _with_usable_frontend(name: str, dockerfile: str, mode: Mode, report: Report) -> str:
    """The Dockerfile, without its ``# syntax=`` line where no registry has that frontend for BuildKit."""
    frontend = dockerfiles.frontend(dockerfile)
    if not frontend or mode == "registry":
        return dockerfile
    if not dockerfiles.is_official(frontend):
        raise ImageMissingError(
            frontend,
            f"the Dockerfile of {name!r} asks for it as its frontend, and no registry answers",
            "drop its `# syntax=` line, or set EPHEMERA_IMAGES=registry on a machine that reaches a registry",
        )
    report(f"{name}: no registry answers for {frontend}: the frontend in the engine is used")
    return dockerfiles.without_frontend(dockerfile)


class _Following:
    """A build at work: its progress, and its error when it fails. ``needs``: what in it BuildKit alone knows."""

    def __init__(
        self, client: docker.DockerClient, name: str, needs: str, arguments: Mapping[str, str], report: Report
    ) -> None:
        self._client = client
        self._name = name
        self._arguments = arguments
        self._needs = needs
        self._report = report
        self._step = "its start"
        self._output: deque[str] = deque(maxlen=_OUTPUT_LINES)
        self._trace = buildkit.Trace()

    def follow(self, parameters: Mapping[str, str], archive: IO[bytes]) -> None:
        """Ask the engine for the build and report each line of it; raise :class:`ImageBuildError` when it fails."""
        from docker.errors import APIError
        from requests.exceptions import ConnectionError as BrokenConnectionError
        from requests.exceptions import Timeout

        try:
            self._follow(parameters, archive)
        except APIError as error:
            raise self.failed(error.explanation or str(error)) from error
        except (Timeout, BrokenConnectionError) as error:
            if "timed out" not in str(error):
                raise
            raise self.failed(f"it said nothing for {self._client.api.timeout // 60} minutes") from error

    def _follow(self, parameters: Mapping[str, str], archive: IO[bytes]) -> None:
        # docker-py has a method for the classic builder alone, which sends it every credential that the user has.
        api = self._client.api
        headers = {"Content-Type": "application/x-tar"}
        response = api._post(api._url("/build"), data=archive, params=parameters, headers=headers, stream=True)
        try:
            api._raise_for_status(response)
            for event in api._stream_helper(response, decode=True):
                if "error" in event:
                    self._say(self._trace.rest())
                    raise self.failed(event["error"].strip())
                self._say(self._lines(event))
            self._say(self._trace.rest())
        finally:
            response.close()  # which is what stops a build that is not wanted any more

    def failed(self, cause: str) -> ImageBuildError:
        """Return the error for a build that failed at the step that it is at."""
        output = tuple(self._output)
        step = self._trace.failed or self._step
        if full := disk.full(self._client, [cause, *output[-_TELLING_LINES:]]):
            return ImageBuildError(self._name, step, full, output, disk.REMEDY)
        remedy = self._of_engine(cause) or reach.remedy(output[-_TELLING_LINES:], self._arguments)
        if self._needs and _NO_SESSION in cause:
            cause = "a build is given no secrets and no SSH agent"
            remedy = (
                "leave out its `--mount=type=secret` or `type=ssh`: fetch before the build what needs them, and "
                "COPY it; or build it elsewhere, and use that image"
            )
        if self._needs and (ended := _EXIT_CODE.search(cause)):
            cause = f"its command ended with {ended[1]}"  # not the whole command, which is in the step
        return ImageBuildError(self._name, step, " ".join(cause.split()), output, remedy)

    def _of_engine(self, cause: str) -> str:
        """What to do where the engine's BuildKit is too old for it."""
        if not self._needs:
            return ""
        version = self._client.version().get("Version", "")
        if _UNKNOWN.search(cause):
            return (
                f"Docker {version} does not understand {self._needs}: update it (23.0 has heredocs and --link), "
                "or begin the Dockerfile with `# syntax=docker/dockerfile:1` where a registry answers"
            )
        if _NO_CONTEXT in cause:
            return (
                f"BuildKit of Docker {version} takes no build context with the containerd image store: update to 27.5"
            )
        return ""

    def _lines(self, event: dict[str, Any]) -> Iterator[str]:
        if event.get("id") == buildkit.TRACE:
            return self._trace.lines(event)
        return iter([event.get("stream", "")])

    def _say(self, told: Iterator[str]) -> None:
        for line in _COLOUR.sub("", "\n".join(told)).splitlines():
            if line.strip():
                self._output.append(line.rstrip())
                self._report(f"{self._name}: {line.strip()}")
            if line.startswith("Step "):
                self._step = line.strip()
