"""Development mode: whether source folders of this machine can be mounted into the containers of an environment."""

from __future__ import annotations

from collections.abc import Mapping

from ephemera.docker.address import Address
from ephemera.host import surroundings
from ephemera.model.catalog import Manifest, Source
from ephemera.model.errors import InputError
from ephemera.model.settings import Settings

_YES = ("1", "true", "yes", "on")


def mounted(system: Manifest, settings: Settings) -> Mapping[str, Source]:
    """Return the sources to mount, by service, in declaration order; none outside development mode."""
    if not settings.development:
        return {}
    selected = system.selected(only=settings.only, profiles=settings.profiles)
    declared = ((name, system.services[name].source) for name in selected)
    return {name: source for name, source in declared if source is not None}


def in_ci(environment: Mapping[str, str] | None = None) -> bool:
    """Return whether this runs in CI, where sources are not edited."""
    return (surroundings.variables() if environment is None else environment).get("CI", "").lower() in _YES


def refuse_unmountable(
    settings: Settings, system: Manifest, engine: Address, environment: Mapping[str, str] | None = None
) -> None:
    """Raise :class:`InputError` for development mode in CI, on another machine, or without sources to mount."""
    if not settings.development:
        return
    if in_ci(environment):
        raise InputError("development mode is not for CI", remedy="test what the images hold: `ephemera up`")
    if engine.reach != "here":
        raise InputError(
            f"source folders of this machine cannot be mounted on that of the Docker engine at {engine.url}",
            remedy="use a local engine for development mode, or `ephemera up`, which builds images over there",
        )
    sources = mounted(system, settings)
    if not sources:
        raise InputError(
            f"no service of {settings.system!r} to start has a source folder that can be mounted",
            remedy="give one to a service in the program: source=Source(folder=…, target=…)",
        )
    for service, source in sources.items():
        if not source.path.is_dir():
            raise InputError(
                f"source folder {source.path} of service {service!r} is not there", remedy="correct it in the program"
            )
