"""Pull or build images, bases first; each tag is made by one process at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from ephemera.contract import labels
from ephemera.contract.images import AnyImage, EngineImage, PublicImage
from ephemera.home import builds
from ephemera.host.engine import connected, docker_host
from ephemera.images import building, reach
from ephemera.images.base import import_base
from ephemera.images.errors import ImageTakenError
from ephemera.images.modes import Mode
from ephemera.images.recipes import BASE, recipe
from ephemera.images.references import as_built, resolve
from ephemera.images.registries import pull

if TYPE_CHECKING:
    import docker

_BUILD_SECONDS = 1800
"""A build step that says nothing for that long is given up."""

_TRIES = 3
"""With sources that change while they are packed; the last one takes them as they are."""

Report = Callable[[str], None]
Begins = Callable[[str, str], None]
"""Records that a build begins: the name of its image, and the engine's address."""


def ensure(images: Iterable[AnyImage], mode: Mode, report: Report = lambda _: None) -> dict[AnyImage, str]:
    """Pull or build every image that the engine does not have, bases first, and return the reference of each.

    One that another user of the engine built is used: its tag says what it is made from. ``report`` is called with each
    line of progress. Raises :class:`ImageBuildError`, :class:`ImageMissingError`, and :class:`ImageTakenError` for a
    tag that is on something else.
    """
    reach.network()  # a wrong value is refused also where nothing is to be built
    references = {image: resolve(image, mode) for image in images}
    with connected() as client:
        client.api.timeout = _BUILD_SECONDS
        for image, reference in references.items():
            references[image] = _have(client, image, reference, mode, report)
    return references


def _have(client: docker.DockerClient, image: AnyImage, reference: str, mode: Mode, report: Report) -> str:
    """Have it there; returns its reference, which is another one if its sources change meanwhile."""
    name = None if isinstance(image, PublicImage) or _is_official(image, mode) else as_built(image).name
    for tries_left in reversed(range(_TRIES)):
        if _present(client, reference, name):
            break
        with suppress(building.ContextChangedError), builds.exclusive(reference) as begins:
            # Another process may have made it while this one waited.
            if not _present(client, reference, name):
                _make(client, image, reference, mode, report, begins, last=not tries_left)
            break
        reference = resolve(image, mode)
    return reference


def _make(
    client: docker.DockerClient,
    image: AnyImage,
    reference: str,
    mode: Mode,
    report: Report,
    begins: Begins,
    *,
    last: bool,
) -> None:
    if isinstance(image, PublicImage) or _is_official(image, mode):
        pull(client, reference, report)
    elif image == EngineImage(name=BASE):
        import_base(client, reference, lambda line: report(f"{BASE}: {line}"))
    else:
        build = as_built(image)
        arguments = dict(build.arguments)
        for argument, base in build.bases.items():
            arguments[argument] = _have(client, base, resolve(base, mode), mode, report)
        for needed in building.bases(build, arguments, mode):
            if not _present(client, needed.reference):
                pull(client, needed.reference, report, needed.platform)
        begins(build.name, docker_host())
        building.build(client, build, reference, arguments, mode, report, last=last)


def _is_official(image: AnyImage, mode: Mode) -> bool:
    return isinstance(image, EngineImage) and mode == "registry" and recipe(image.name).official is not None


def _present(client: docker.DockerClient, reference: str, name: str | None = None) -> bool:
    """Whether the engine has it. ``name``: of one that ephemera makes; any other image in its place is refused."""
    from docker.errors import ImageNotFound

    try:
        found = client.api.inspect_image(reference)
    except ImageNotFound:
        return False
    if name is not None and (marked := (found["Config"].get("Labels") or {}).get(labels.IMAGE)) != name:
        raise ImageTakenError(reference, marked)
    return True
