"""What is known of a project's systems without running their programs: a mapping from name to :class:`Manifest`.

Plain data, read from a rehearsal of each program (:mod:`ephemera.resources.rehearsal`) and kept under a fingerprint of
what it was made from (:mod:`ephemera.driver.manifests`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypeVar

from pydantic import TypeAdapter

from ephemera.contract import declared
from ephemera.contract.errors import InputError, UnknownNameError
from ephemera.contract.images import AnyImage
from ephemera.contract.runner import IN_NETWORK, Runner


@dataclass(frozen=True, kw_only=True)
class Source:
    """Code of a service that development mode (``ephemera dev``) mounts, read-only, over what its image holds of it.

    ``folder``: on this machine, absolute. ``target``: its place in the container, absolute.
    ``reload``: how a change comes to life: ``restart`` has the service restarted, under ``command`` the service's own
    process sees to it. ``command``: what the container runs in development mode; without one, what it always runs.
    ``unused``: files and folders in ``folder`` that are other services' alone, whose changes need no reload.
    """

    folder: Path
    target: str
    reload: Literal["restart", "command"] = "restart"
    command: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        declared.expect("folder of a source", self.folder, Path, "a Path")
        declared.expect("target of a source", self.target, str, "a folder in the container")
        if not self.folder.is_absolute() or self.folder == self.folder.parent:
            raise InputError(f"folder of a source is {str(self.folder)!r}", remedy="it must be absolute, and no root")
        target = PurePosixPath(self.target)
        if not target.is_absolute() or str(target) != self.target or ".." in target.parts or target == target.parent:
            raise InputError(
                f"target of a source is {self.target!r}", remedy="it must be an absolute folder in the container"
            )
        if self.reload not in ("restart", "command"):
            raise InputError(f"reload of a source is {self.reload!r}", remedy="it must be restart or command")
        for name in ("command", "unused"):
            declared.expect(f"{name} of a source", getattr(self, name), tuple, "a tuple of texts")
            for part in getattr(self, name):
                declared.expect(f"a part of {name} of a source", part, str, "a text")
        if self.reload == "command" and not self.command:
            raise InputError("a source has reload='command' and no command", remedy="give the one that reloads it")

    def uses(self, file: Path) -> bool:
        """Whether the service runs that file, or may."""
        others = any(file.is_relative_to(self.folder / name) for name in self.unused)
        return file.is_relative_to(self.folder) and not others


@dataclass(frozen=True, kw_only=True)
class Service:
    """One service of a system.

    ``requires``: services that must be ready before it starts: those that it needs, and those whose outputs it uses.
    ``wants``: services that it waits for where they are part of the environment. ``uses``: by variable, the services
    whose outputs it holds. ``profile``: it starts only when that profile is asked for. ``required``: whether the system
    is of use without it. ``source``: code that development mode mounts. ``runner``: it is no part of the environment,
    but runs the suite in its network.
    """

    requires: tuple[str, ...] = ()
    wants: tuple[str, ...] = ()
    uses: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    profile: str | None = None
    required: bool = True
    source: Source | None = None
    runner: Runner | None = None


@dataclass(frozen=True)
class Option:
    """A setting of one system's own, ``ephemera:<name>`` in the stack's config; of the type that its default has."""

    default: str | bool | int
    help: str

    def __post_init__(self) -> None:
        declared.expect("default of an option", self.default, (str, bool, int), "a text, True, False or a whole number")
        declared.expect("help of an option", self.help, str, "a text")

    @property
    def type(self) -> str:
        """``string``, ``boolean`` or ``integer``, as config has it."""
        return {str: "string", bool: "boolean"}.get(type(self.default), "integer")


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a system's program declares.

    ``services``: in the order in which they are declared. ``images``: those that they use. The rest is as in
    :class:`~ephemera.contract.system.System`.
    """

    suite: str
    services: Mapping[str, Service]
    images: tuple[AnyImage, ...] = ()
    description: str = ""
    options: Mapping[str, Option] = field(default_factory=dict)
    fixed_ports: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    exceptions: Mapping[str, str] = field(default_factory=dict)
    seed: str = ""

    @property
    def profiles(self) -> tuple[str, ...]:
        """Every profile that some service belongs to."""
        return tuple(sorted({service.profile for service in self.services.values() if service.profile}))

    @property
    def runner(self) -> tuple[str, Runner] | None:
        """The service that runs the suite in the network, if there is one."""
        return next(((name, service.runner) for name, service in self.services.items() if service.runner), None)

    @property
    def all_images(self) -> tuple[AnyImage, ...]:
        """``images``, and the runner's."""
        return self.images if self.runner is None else (*self.images, self.runner[1].image)

    def selected(self, *, only: Iterable[str] = (), profiles: Iterable[str] = ()) -> tuple[str, ...]:
        """Services to start, in declaration order: those of ``only`` or else all that are in no profile, those of
        ``profiles``, and what they require. The runner is never among them.

        Raises :class:`UnknownNameError` for a service or profile that is not declared.
        """
        for profile in (asked := tuple(profiles)):
            if profile not in self.profiles:
                raise UnknownNameError("profile", profile, self.profiles)
        named = tuple(only) or tuple(name for name, service in self.services.items() if service.profile is None)
        wanted = (*named, *(name for name, service in self.services.items() if service.profile in asked))
        runner = self.runner[0] if self.runner else None
        if runner in named:
            raise InputError(
                f"service {runner!r} runs the suite, and is no part of an environment",
                remedy=f"give `ephemera test` or `ephemera run` the flag {IN_NETWORK}",
            )
        chosen: set[str] = set()
        pending = list(wanted)
        while pending:
            name = pending.pop()
            if name not in self.services:
                raise UnknownNameError("service", name, self.services)
            if name not in chosen:
                chosen.add(name)
                pending.extend(self.services[name].requires)
        return tuple(name for name in self.services if name in chosen and name != runner)

    def document(self) -> dict[str, Any]:
        """Return it as plain values."""
        plain: dict[str, Any] = _ADAPTER.dump_python(self, mode="json")
        return plain


Catalog = Mapping[str, Manifest]
_T = TypeVar("_T")


def find_system(catalog: Mapping[str, _T], name: str) -> _T:
    """Return the system of that name, or raise an :class:`UnknownNameError` with the nearest one."""
    if name not in catalog:
        raise UnknownNameError("system", name, catalog)
    return catalog[name]


def from_document(document: Any) -> Manifest:
    """Return the manifest that ``document`` was made from; raise ``ValueError`` for one of another version."""
    return _ADAPTER.validate_python(document)


_ADAPTER = TypeAdapter(Manifest)
