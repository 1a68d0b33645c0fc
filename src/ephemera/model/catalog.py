"""What is known of a project's systems without running their programs: a mapping from name to :class:`Manifest`.

Plain data, read from a rehearsal of each program (:mod:`ephemera.resources.rehearsal`) and cached under a
fingerprint of the project's sources (:mod:`ephemera.pulumi.project_catalog`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypeVar

from pydantic import TypeAdapter

from ephemera.model import declared
from ephemera.model.errors import InputError, UnknownNameError
from ephemera.model.images import AnyImage
from ephemera.model.runner import IN_NETWORK, Runner


@dataclass(frozen=True, kw_only=True)
class Source:
    """Source code of a service. Development mode (``ephemera dev``) mounts it, read-only, over the image's copy.

    ``folder``: on this machine, relative to the project of the calling module or absolute, other than ``/``.
    ``target``: its place in the container, an absolute path other than ``/``.
    ``reload``: how a change takes effect: with ``restart`` the service is restarted, with ``command`` its own process
    reloads. ``command``: of the container in development mode; by default, its usual one. Required with
    ``reload="command"``.
    ``unused``: files and folders in ``folder`` that only other services run: their changes need no reload.

    Raises :class:`InputError` for any other value.
    """

    folder: str | Path
    target: str
    reload: Literal["restart", "command"] = "restart"
    command: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        declared.expect("folder of a source", self.folder, (str, Path), "a folder of the project")
        declared.expect("target of a source", self.target, str, "a folder in the container")
        folder = declared.in_project(self.folder, depth=3)
        object.__setattr__(self, "folder", folder)
        declared.require(folder != folder.parent, "folder of a source", str(folder), "another folder than /")
        target = PurePosixPath(self.target)
        plain = target.is_absolute() and str(target) == self.target and ".." not in target.parts
        rule = "an absolute folder in the container other than /"
        declared.require(plain and target != target.parent, "target of a source", self.target, rule)
        fits = self.reload in ("restart", "command")
        declared.require(fits, "reload of a source", self.reload, "restart or command")
        declared.check_texts("command of a source", self.command)
        declared.check_texts("unused of a source", self.unused)
        if self.reload == "command" and not self.command:
            raise InputError("a source has reload='command' and no command", remedy="give the one that reloads it")

    @property
    def path(self) -> Path:
        """The folder as an absolute path."""
        return Path(self.folder)

    def uses(self, file: Path) -> bool:
        """Return whether the service runs ``file``, or may."""
        others = any(file.is_relative_to(self.path / name) for name in self.unused)
        return file.is_relative_to(self.path) and not others


@dataclass(frozen=True, kw_only=True)
class Service:
    """One service of a system.

    ``requires``: services that must be ready before it starts: those it needs, and those whose outputs it uses.
    ``wants``: services that it waits for if they are part of the environment. ``uses``: by variable, the services whose
    outputs it holds. ``profile``: it starts only if that profile is asked for. ``required``: whether the system is of
    no use without it. ``source``: code that development mode mounts. ``runner``: set if it is no part of the
    environment, but runs the suite in its network.
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
    """A setting of one system, ``ephemera:<name>`` in the stack's config.

    ``default``: a text, boolean or whole number, which is the option's type. ``help``: one line.
    """

    default: str | bool | int
    help: str

    def __post_init__(self) -> None:
        declared.expect("default of an option", self.default, (str, bool, int), "a text, True, False or a whole number")
        declared.expect("help of an option", self.help, str, "a text")

    @property
    def type(self) -> str:
        """``string``, ``boolean`` or ``integer``, as in Pulumi's config."""
        return {str: "string", bool: "boolean"}.get(type(self.default), "integer")


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a system's program declares.

    ``services``: in the order of declaration. ``images``: those they use. The rest is as in
    :class:`~ephemera.model.system.System`.
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
        """Every profile that a service belongs to, sorted."""
        return tuple(sorted({service.profile for service in self.services.values() if service.profile}))

    @property
    def runner(self) -> tuple[str, Runner] | None:
        """Name and runner of the service that runs the suite in the network; None without one."""
        return next(((name, service.runner) for name, service in self.services.items() if service.runner), None)

    @property
    def all_images(self) -> tuple[AnyImage, ...]:
        """``images``, and the runner's."""
        return self.images if self.runner is None else (*self.images, self.runner[1].image)

    def selected(self, *, only: Iterable[str] = (), profiles: Iterable[str] = ()) -> tuple[str, ...]:
        """Return the services to start, in the order of declaration, without the runner.

        They are those of ``only`` or else all without a profile, those of ``profiles``, and all that they require.
        Raises :class:`UnknownNameError` for a service or profile that is not declared.
        """
        for profile in (asked := tuple(profiles)):
            if profile not in self.profiles:
                raise UnknownNameError("profile", profile, self.profiles)
        named = tuple(only) or tuple(name for name, service in self.services.items() if service.profile is None)
        runner = self.runner[0] if self.runner else None
        if runner in named:
            raise InputError(
                f"service {runner!r} runs the suite, and is no part of an environment",
                remedy=f"give `ephemera test` or `ephemera run` the flag {IN_NETWORK}",
            )
        chosen: set[str] = set()
        pending = [*named, *(name for name, service in self.services.items() if service.profile in asked)]
        while pending:
            name = pending.pop()
            if name not in self.services:
                raise UnknownNameError("service", name, self.services)
            if name not in chosen:
                chosen.add(name)
                pending.extend(self.services[name].requires)
        return tuple(name for name in self.services if name in chosen and name != runner)

    def document(self) -> dict[str, Any]:
        """Return the manifest as plain values."""
        plain: dict[str, Any] = _ADAPTER.dump_python(self, mode="json")
        return plain


Catalog = Mapping[str, Manifest]
_T = TypeVar("_T")


def find_system(catalog: Mapping[str, _T], name: str) -> _T:
    """Return the system of that name; raise :class:`UnknownNameError` with the nearest one if there is none."""
    if name not in catalog:
        raise UnknownNameError("system", name, catalog)
    return catalog[name]


def from_document(document: Any) -> Manifest:
    """Return the manifest that ``document`` was made from; raise ``ValueError`` for one of another version."""
    return _ADAPTER.validate_python(document)


_ADAPTER = TypeAdapter(Manifest)
