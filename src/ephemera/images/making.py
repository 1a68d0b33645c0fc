"""Pull or build images, bases first; each tag is made by one process at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from ephemera.contract import labels
from ephemera.contract.images import AnyImage, EngineImage, ServiceImage
from ephemera.home import builds
from ephemera.host.engine import connected, docker_host
from ephemera.images import building, reach
from ephemera.images.base import import_base
from ephemera.images.errors import ImageTakenError
from ephemera.images.ignoring import NAME as IGNORE_FILE
from ephemera.images.recipes import BASE, source
from ephemera.images.references import resolve
from ephemera.images.registries import Mode, pull

if TYPE_CHECKING:
    import docker

_BUILD_SECONDS = 1800
"""A build step that says nothing for that long is given up."""


def ensure(
    images: Iterable[AnyImage], mode: Mode, report: Callable[[str], None] = lambda _: None
) -> dict[AnyImage, str]:
    """Pull or build every image that the engine does not have, bases first, and return the reference of each.

    An image that another user of the engine built is used: its tag says what it is made from. ``report`` is called with
    each line of progress. Raises :class:`ImageBuildError`, :class:`ImageMissingError`, and :class:`ImageTakenError` for
    a tag that is on something else.
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
            elif image == EngineImage(BASE):
                import_base(self._client, reference, lambda line: self._report(f"{BASE}: {line}"))
            else:
                return self._build(found, reference, begins)
        return reference

    def _build(self, image: ServiceImage, reference: str, begins: Callable[[str, str], None]) -> str:
        bases = {argument: self.have(base, resolve(base, self._mode)) for argument, base in image.bases.items()}
        for needed, platform in building.bases(image, {**image.arguments, **bases}, self._mode).items():
            if not present(self._client, needed):
                pull(self._client, needed, self._report, platform)
        begins(image.name, docker_host())
        built = building.build(self._client, image, bases, self._mode, self._report)
        if built != reference:
            hint = f"name files that the build does not need in {IGNORE_FILE}"
            self._report(f"{image.name}: its sources changed while they were packed; if they always do, {hint}")
        return built


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
