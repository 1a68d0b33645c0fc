"""Pull or build images, bases first; each tag is made by one process at a time.

Docker's classic builder is used where it understands the Dockerfile: what it leaves are images, which ``images prune``
finds. BuildKit is used elsewhere. The engine takes the same archive for both, so neither Docker's command nor buildx is
needed (docs/adr/0045).
"""

from __future__ import annotations

import errno
import json
import tempfile
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from ephemera.docker.connection import connected, docker_host
from ephemera.home import builds, identity
from ephemera.host import surroundings
from ephemera.images import context, dockerfiles, reach
from ephemera.images.base import import_base
from ephemera.images.build_errors import ImageBuildError, ImageTakenError
from ephemera.images.building import Build
from ephemera.images.references import BASE, resolve, source, tag
from ephemera.images.registries import Mode, pull
from ephemera.model import labels
from ephemera.model.images import AnyImage, ServiceImage

if TYPE_CHECKING:
    import docker

_BUILDKIT = "2"
_BUILD_SECONDS = 1800
"""A build step that says nothing for that long is given up."""


def ensure(
    images: Iterable[AnyImage], mode: Mode, report: Callable[[str], None] = lambda _: None
) -> dict[AnyImage, str]:
    """Pull or build every image that the engine does not have, bases first, and return the reference of each.

    An image that another user of the engine built is used: its tag says what it is made from. ``report`` is called with
    each line of progress. Raise :class:`ImageBuildError`, :class:`ImageMissingError`, and :class:`ImageTakenError` for
    a tag that is on another image.
    """
    reach.network()  # a wrong value is refused also where nothing is built
    references = {image: resolve(image, mode) for image in images}
    with connected() as client:
        client.api.timeout = _BUILD_SECONDS
        maker = _Maker(client, mode, report)
        return {image: maker.have(image, reference) for image, reference in references.items()}


class _Maker:
    def __init__(self, client: docker.DockerClient, mode: Mode, report: Callable[[str], None]) -> None:
        self._client = client
        self._mode = mode
        self._report = report

    def have(self, image: AnyImage, reference: str) -> str:
        """Make the image unless the engine has it; return its reference, a new one if its sources change meanwhile."""
        found = source(image, self._mode)
        name = None if isinstance(found, str) else found.name
        if present(self._client, reference, name):
            return reference
        with builds.exclusive(reference) as begins:
            # Another process may have made it while this one waited.
            if present(self._client, reference, name):
                return reference
            if isinstance(found, str):
                pull(self._client, reference, self._report)
            elif image == BASE:
                import_base(self._client, reference, lambda line: self._report(f"{BASE.name}: {line}"))
            else:
                built = self._build(found, begins)
                if built != reference:
                    hint = f"name files that the build does not need in {context.IGNORE_FILE}"
                    self._report(f"{found.name}: its sources changed meanwhile; if they always do, {hint}")
                return built
        return reference

    def _build(self, image: ServiceImage, begins: Callable[[str, str], None]) -> str:
        bases = {argument: self.have(base, resolve(base, self._mode)) for argument, base in image.bases.items()}
        text = context.read_dockerfile(image.context, image.dockerfile)
        needs = dockerfiles.buildkit_only(text)
        frontend = dockerfiles.frontend(text) if needs else ""
        arguments = {**reach.arguments(text), **image.arguments, **bases}
        reach.refuse_loopback(text, arguments)
        # The engine is sent no credentials, so it cannot pull private images itself.
        needed = dockerfiles.bases(text, arguments, image.target)
        if frontend and self._mode == "registry":
            needed[frontend] = None
        for reference, platform in needed.items():
            if not present(self._client, reference):
                pull(self._client, reference, self._report, platform)
        marks = labels.of_image(image.name, identity.backend_id())
        network = reach.network()
        parameters = {
            "dockerfile": context.dockerfile_path(image.context, image.dockerfile),
            "target": image.target or "",
            "buildargs": json.dumps(arguments),
            "networkmode": "default" if network == "bridge" else network,
        }
        if needs:
            self._report(f"{image.name}: built by BuildKit, for {needs}")
            sent = text
            if self._mode == "local" and dockerfiles.is_official(frontend):
                self._report(f"{image.name}: no registry answers for {frontend}: the frontend in the engine is used")
                sent = dockerfiles.without_frontend(text)
            parameters |= {"version": _BUILDKIT, "labels": json.dumps(marks)}
        else:
            sent = dockerfiles.labelled(text, marks)
            parameters |= {"rm": "1", "forcerm": "1"}
        begins(image.name, docker_host())
        build = Build(self._client, image.name, needs, arguments, self._report)
        try:
            with tempfile.TemporaryFile(dir=surroundings.temporary()) as archive:
                packed = context.pack(image.context, image.dockerfile, archive, (text, sent))
                archive.seek(0)
                reference = tag(image, packed, bases)
                build.run({**parameters, "t": reference}, archive)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            cause = f"the disk of {surroundings.temporary()} is full"
            raise ImageBuildError(image.name, "packing its context", cause, "make room there") from error
        return reference


def present(client: docker.DockerClient, reference: str, name: str | None = None) -> bool:
    """Return whether the engine has an image. ``name``: of one that ephemera makes; raise :class:`ImageTakenError` if
    another image is in its place."""
    from docker.errors import ImageNotFound

    try:
        found = client.api.inspect_image(reference)
    except ImageNotFound:
        return False
    if name is not None and (marked := (found["Config"].get("Labels") or {}).get(labels.IMAGE)) != name:
        raise ImageTakenError(reference, marked)
    return True
