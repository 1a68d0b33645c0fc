"""What a project declares of its systems: a mapping from name to :class:`System`, named in ``pyproject.toml``.

``[tool.ephemera] catalog = "stacks.catalog:SYSTEMS"``. Plain data: reading it imports no Pulumi and starts nothing.
"""

from __future__ import annotations

import importlib
import sys
import tomllib
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal, get_args

from ephemera.contract import declared
from ephemera.contract.errors import EphemeraError, InputError, UnknownNameError
from ephemera.contract.images import AnyImage
from ephemera.contract.names import check_system_name
from ephemera.contract.runner import IN_NETWORK, Runner, check_runners

__all__ = [
    "Catalog",
    "Option",
    "Runner",
    "Service",
    "Source",
    "System",
    "find_project",
    "find_system",
    "imported",
    "load_catalog",
]


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

    ``requires``: services that must be ready before it starts. ``profile``: it starts only when that profile is asked
    for. ``required``: whether the system is of use without it. ``source``: folder of its code; as a :class:`Source`,
    development mode can mount it. ``runner``: it is no part of the environment, but runs the suite in its network.
    """

    requires: tuple[str, ...] = ()
    profile: str | None = None
    required: bool = True
    source: Path | Source | None = None
    runner: Runner | None = None

    def __post_init__(self) -> None:
        declared.expect("requires of a service", self.requires, tuple, "a tuple of services")
        for needed in self.requires:
            declared.expect("a service that a service requires", needed, str, "a name")
        if self.profile is not None:
            declared.expect("profile of a service", self.profile, str, "a name")
        declared.expect("required of a service", self.required, bool, "True or False")
        if self.source is not None:
            declared.expect("source of a service", self.source, (Path, Source), "a Path or a Source")
        if self.runner is not None:
            declared.expect("runner of a service", self.runner, Runner, "a Runner")

    @property
    def mountable(self) -> Source | None:
        """What development mode mounts of it."""
        return self.source if isinstance(self.source, Source) else None


@dataclass(frozen=True, kw_only=True)
class Option:
    """A setting of one system's own, ``ephemera:<name>`` in the stack's config."""

    type: Literal["string", "boolean", "integer"]
    default: str | bool | int
    help: str

    def __post_init__(self) -> None:
        declared.check_default(self.type, self.default)


@dataclass(frozen=True, kw_only=True)
class System:
    """One system: how it is made, tested, and what it needs.

    ``program``: ``module:function``, called with the :class:`ephemera.resources.Environment`.
    ``suite``: folder of its tests, relative to the project. ``images``: every image its containers use.
    ``memory_mb``, ``cpus``: what it needs when it runs (MiB, cores).
    ``fixed_ports``: tables for ``expose: fixed``, table → ``service.endpoint`` → port on 127.0.0.1.
    ``exceptions``: from the policy (``ephemera.resources.policy``), ``<resource>.<rule>`` → reason.
    ``seed``: ``module:function`` that puts the suite's data in, called once with each
    :class:`ephemera.plugin.running.RunningEnvironment` before the first test sees it.
    """

    program: str
    suite: str
    services: Mapping[str, Service]
    images: tuple[AnyImage, ...] = ()
    description: str = ""
    memory_mb: int = 512
    cpus: float = 1.0
    options: Mapping[str, Option] = field(default_factory=dict)
    fixed_ports: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    exceptions: Mapping[str, str] = field(default_factory=dict)
    seed: str = ""

    def __post_init__(self) -> None:
        for name in ("program", "suite", "description", "seed"):
            declared.expect(name, getattr(self, name), str, "a text")
        declared.check_mapping("services", self.services, Service, "a Service")
        declared.check_requirements({name: service.requires for name, service in self.services.items()})
        check_runners(
            (name for name, service in self.services.items() if service.runner),
            (name for name, service in self.services.items() if service.profile),
            (needed for service in self.services.values() for needed in service.requires),
        )
        declared.expect("images", self.images, tuple, "a tuple of images")
        for image in self.images:
            declared.expect("an image", image, get_args(AnyImage), "an EngineImage, ServiceImage or PublicImage")
        declared.check_positive("memory_mb", self.memory_mb, int)
        declared.check_positive("cpus", self.cpus, (int, float))
        declared.check_mapping("options", self.options, Option, "an Option")
        declared.check_option_names(self.options, _reserved())
        declared.check_tables(self.fixed_ports, self.services)
        declared.check_mapping("exceptions", self.exceptions, str, "a reason")

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

    def load(self) -> Callable[[Any], None]:
        """Import the program."""
        program: Callable[[Any], None] = imported(self.program, Callable)
        return program

    def load_seed(self) -> Callable[[Any], None]:
        """Import the function that puts the suite's data in."""
        seed: Callable[[Any], None] = imported(self.seed, Callable)
        return seed


Catalog = Mapping[str, System]


def find_project(start: Path) -> Path:
    """The nearest folder from ``start`` upwards with a ``Pulumi.yaml`` and a catalog in its ``pyproject.toml``."""
    for folder in (start, *start.parents):
        if (folder / "Pulumi.yaml").is_file() and _catalog_reference(folder):
            return folder
    raise InputError(
        f"no ephemera project in {start} or above it",
        remedy='a project has a Pulumi.yaml and a pyproject.toml with [tool.ephemera] catalog = "module:NAME"',
    )


def load_catalog(project: Path) -> Catalog:
    """Import the project's catalog; its folder goes first on ``sys.path``, as under ``pulumi up``."""
    reference = _catalog_reference(project)
    if reference is None:
        raise InputError(
            f"{project / 'pyproject.toml'} names no catalog", remedy='[tool.ephemera] catalog = "module:NAME"'
        )
    if str(project) not in sys.path:
        sys.path.insert(0, str(project))
    catalog: Catalog = imported(reference, Mapping)
    for name, system in catalog.items():
        declared.expect(f"a key of {reference}", name, str, "a system's name")
        check_system_name(name)
        if not isinstance(system, System):
            raise InputError(f"{reference}[{name!r}] is a {type(system).__name__}", remedy="it must be a System")
    return catalog


def find_system(catalog: Catalog, name: str) -> System:
    """The system of that name, or an :class:`UnknownNameError` with the nearest one."""
    if name not in catalog:
        raise UnknownNameError("system", name, catalog)
    return catalog[name]


def imported(reference: str, kind: Any) -> Any:
    """What ``module:NAME`` names; raises :class:`InputError` unless it is there, and of that kind."""
    module_name, _, attribute = reference.partition(":")
    if not attribute or not all(part.isidentifier() for part in module_name.split(".")):
        raise InputError(f"{reference!r} cannot be imported", remedy="it must be of the form module:NAME")
    try:
        found = getattr(importlib.import_module(module_name), attribute)
    except EphemeraError:
        raise  # its catalog is wrong, and says how; or somebody interrupts
    except (Exception, SystemExit) as error:  # whatever somebody else's module does when it is imported
        raise InputError(f"{reference!r} cannot be imported", remedy=_told(error)) from error
    if not isinstance(found, kind):
        raise InputError(f"{reference!r} is a {type(found).__name__}", remedy=f"it must be a {kind.__name__}")
    return found


def _catalog_reference(project: Path) -> str | None:
    try:
        document = tomllib.loads((project / "pyproject.toml").read_text())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"{project / 'pyproject.toml'} cannot be read", remedy=error.strerror or str(error)) from error
    except (ValueError, RecursionError) as error:  # TOML's error is a ValueError, as are texts that are none
        raise InputError(f"{project / 'pyproject.toml'} is not valid TOML", remedy=str(error)) from error
    table: Any = document
    for key in ("tool", "ephemera", "catalog"):
        table = table.get(key) if isinstance(table, dict) else None
    return table if isinstance(table, str) else None


def _told(error: BaseException) -> str:
    """What happened and, where Python knows it, in which line of whose code."""
    frames = [each for each in traceback.extract_tb(error.__traceback__) if "importlib" not in each.filename]
    where = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames and frames[-1].filename != __file__ else ""
    return f"{type(error).__name__}: {error}{where}"


def _reserved() -> tuple[str, ...]:
    from ephemera.contract.settings import CONFIG_KEYS  # which are read from a model that knows the catalog

    return CONFIG_KEYS
