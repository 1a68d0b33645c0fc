"""Has images there: pulls what is published, builds what is ours, bases first, each tag by one process at a time."""

from __future__ import annotations

import re
import tempfile
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ephemera.contract.images import AnyImage, EngineImage, PublicImage, ServiceImage
from ephemera.home import builds
from ephemera.host import surroundings
from ephemera.host.engine import connected, docker_host
from ephemera.images import context, disk
from ephemera.images.base import import_base
from ephemera.images.dockerfiles import labelled, machine_arguments
from ephemera.images.errors import ImageBuildError, ImageMissingError
from ephemera.images.modes import Mode
from ephemera.images.recipes import BASE, recipe
from ephemera.images.references import as_built, resolve

if TYPE_CHECKING:
    import docker

_OUTPUT_LINES = 30
_TELLING_LINES = 8
"""At the end of a failed step: what its command said last, and what the builder did about it."""
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_BUILD_SECONDS = 1800
"""A build step that says nothing for that long is given up."""

Report = Callable[[str], None]
Begins = Callable[[str, str], None]
"""Records that a build begins: the name of its image, and the engine's address."""


def ensure(images: Iterable[AnyImage], mode: Mode, report: Report = lambda _: None) -> dict[AnyImage, str]:
    """Have every image on the engine and return the reference of each.

    ``report`` is called with each line of progress. Raises :class:`ImageBuildError`, :class:`ImageMissingError`.
    """
    references = {image: resolve(image, mode) for image in images}
    with connected() as client:
        client.api.timeout = _BUILD_SECONDS
        for image, reference in references.items():
            _have(client, image, reference, mode, report)
    return references


def _have(client: docker.DockerClient, image: AnyImage, reference: str, mode: Mode, report: Report) -> None:
    if _present(client, reference):
        return
    with builds.exclusive(reference) as begins:
        # Another process may have made it while this one waited.
        if not _present(client, reference):
            _make(client, image, reference, mode, report, begins)


def _make(
    client: docker.DockerClient, image: AnyImage, reference: str, mode: Mode, report: Report, begins: Begins
) -> None:
    if isinstance(image, PublicImage) or (isinstance(image, EngineImage) and _is_official(image, mode)):
        _pull(client, reference, report)
    elif image == EngineImage(name=BASE):
        import_base(client, reference, lambda line: report(f"{BASE}: {line}"))
    else:
        build = as_built(image)
        arguments = dict(build.arguments)
        for argument, base in build.bases.items():
            arguments[argument] = resolve(base, mode)
            _have(client, base, arguments[argument], mode, report)
        begins(build.name, docker_host())
        _build(client, build, reference, arguments, report)


def _is_official(image: EngineImage, mode: Mode) -> bool:
    return mode == "registry" and recipe(image.name).official is not None


def _present(client: docker.DockerClient, reference: str) -> bool:
    from docker.errors import ImageNotFound

    try:
        client.api.inspect_image(reference)
    except ImageNotFound:
        return False
    return True


def _pull(client: docker.DockerClient, reference: str, report: Report) -> None:
    from docker.errors import APIError

    remedy = (
        "check the name, the registry and `docker login`, or set EPHEMERA_IMAGES=local where there is a local recipe"
    )
    try:
        # Without a tag Docker would pull all of them.
        for event in client.api.pull(_with_tag(reference), stream=True, decode=True):
            if "error" in event:
                raise _missing(client, reference, event["error"], remedy)
            report(f"{reference}: {event.get('status', '')} {event.get('progress', '')}".rstrip())
    except APIError as error:
        raise _missing(client, reference, error.explanation or str(error), remedy) from error


def _missing(client: docker.DockerClient, reference: str, cause: str, remedy: str) -> ImageMissingError:
    if full := disk.full(client, [cause]):
        return ImageMissingError(reference, full, disk.REMEDY)
    return ImageMissingError(reference, cause, remedy)


def _with_tag(reference: str) -> str:
    named = "@" in reference or ":" in reference.rpartition("/")[2]
    return reference if named else f"{reference}:latest"


def _build(
    client: docker.DockerClient, image: ServiceImage, reference: str, arguments: dict[str, str], report: Report
) -> None:
    dockerfile = (image.context / image.dockerfile).read_text()
    text = labelled(dockerfile, image.name).encode()
    given = {**machine_arguments(dockerfile), **arguments}
    with tempfile.TemporaryFile(dir=surroundings.temporary()) as archive:
        try:
            context.archive(context.entries(image.context, image.dockerfile), {image.dockerfile: text}, archive)
            archive.seek(0)
        except OSError as error:
            if full := disk.full_here(error):
                raise ImageBuildError(image.name, "packing its context", full, (), "make room there") from error
            raise
        events = client.api.build(
            fileobj=archive, custom_context=True, dockerfile=image.dockerfile, tag=reference, target=image.target or "",
            buildargs=given, rm=True, forcerm=True, network_mode="host", decode=True,
        )  # fmt: skip
        try:
            _follow(client, image.name, events, report)
        finally:
            # Closing the stream is what stops a build that is not wanted any more.
            events.close()


def _follow(client: docker.DockerClient, name: str, events: Iterator[dict[str, Any]], report: Report) -> None:
    from docker.errors import APIError

    step = "its start"
    output: deque[str] = deque(maxlen=_OUTPUT_LINES)
    try:
        for event in events:
            if "error" in event:
                raise _failed(client, name, step, event["error"].strip(), output)
            for line in _COLOUR.sub("", event.get("stream", "")).splitlines():
                if line.strip():
                    output.append(line.rstrip())
                    report(f"{name}: {line.strip()}")
                if line.startswith("Step "):
                    step = line.strip()
    except APIError as error:
        raise _failed(client, name, step, error.explanation or str(error), output) from error


def _failed(client: docker.DockerClient, name: str, step: str, cause: str, output: Collection[str]) -> ImageBuildError:
    if full := disk.full(client, [cause, *list(output)[-_TELLING_LINES:]]):
        return ImageBuildError(name, step, full, tuple(output), disk.REMEDY)
    return ImageBuildError(name, step, cause, tuple(output))
