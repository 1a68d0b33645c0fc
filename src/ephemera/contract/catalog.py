"""What a project declares of its systems: a mapping from name to :class:`System`, named in ``pyproject.toml``.

``[tool.ephemera] catalog = "stacks.catalog:SYSTEMS"``. Plain data: reading it imports no Pulumi and starts nothing.
"""

from __future__ import annotations

import importlib
import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ephemera.contract.errors import InputError, UnknownNameError
from ephemera.contract.images import AnyImage
from ephemera.contract.names import check_system_name


@dataclass(frozen=True, kw_only=True)
class Service:
    """One service of a system.

    ``requires``: services that must be ready before it starts. ``profile``: it starts only when that profile is asked
    for. ``required``: whether the system is of use without it. ``source``: folder of its code.
    """

    requires: tuple[str, ...] = ()
    profile: str | None = None
    required: bool = True
    source: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Option:
    """A setting of one system's own, ``ephemera:<name>`` in the stack's config."""

    type: Literal["string", "boolean", "integer"]
    default: str | bool | int
    help: str


@dataclass(frozen=True, kw_only=True)
class System:
    """One system: how it is made, tested, and what it needs.

    ``program``: ``module:function``, called with the :class:`ephemera.resources.Environment`.
    ``suite``: folder of its tests, relative to the project. ``images``: every image its containers use.
    ``memory_mb``, ``cpus``: what it needs when it runs (MiB, cores).
    ``fixed_ports``: tables for ``expose: fixed``, table → ``service.endpoint`` → port on 127.0.0.1.
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

    def __post_init__(self) -> None:
        for name, service in self.services.items():
            for needed in service.requires:
                if needed not in self.services:
                    raise UnknownNameError(f"service required by {name!r}", needed, self.services)

    @property
    def profiles(self) -> tuple[str, ...]:
        """Every profile that some service belongs to."""
        return tuple(sorted({service.profile for service in self.services.values() if service.profile}))

    def selected(self, *, only: Iterable[str] = (), profiles: Iterable[str] = ()) -> tuple[str, ...]:
        """Services to start, in declaration order: those of ``only`` with what they require, or all.

        A service of a profile joins when its profile is asked for, or when ``only`` names it. Raises
        :class:`UnknownNameError` for a service or profile that is not declared.
        """
        for profile in (asked := tuple(profiles)):
            if profile not in self.profiles:
                raise UnknownNameError("profile", profile, self.profiles)
        wanted = tuple(only) or tuple(
            name for name, service in self.services.items() if service.profile is None or service.profile in asked
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
        return tuple(name for name in self.services if name in chosen)

    def load(self) -> Callable[[Any], None]:
        """Import the program."""
        program: Callable[[Any], None] = _imported(self.program, Callable)
        return program


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
    catalog: Catalog = _imported(reference, Mapping)
    for name, system in catalog.items():
        check_system_name(name)
        if not isinstance(system, System):
            raise InputError(f"{reference}[{name!r}] is a {type(system).__name__}", remedy="it must be a System")
    return catalog


def find_system(catalog: Catalog, name: str) -> System:
    """The system of that name, or an :class:`UnknownNameError` with the nearest one."""
    if name not in catalog:
        raise UnknownNameError("system", name, catalog)
    return catalog[name]


def _catalog_reference(project: Path) -> str | None:
    try:
        document = tomllib.loads((project / "pyproject.toml").read_text())
    except FileNotFoundError:
        return None
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{project / 'pyproject.toml'} is not valid TOML", remedy=str(error)) from error
    table: Any = document
    for key in ("tool", "ephemera", "catalog"):
        table = table.get(key) if isinstance(table, dict) else None
    return table if isinstance(table, str) else None


def _imported(reference: str, kind: Any) -> Any:
    module_name, _, attribute = reference.partition(":")
    if not attribute or not all(part.isidentifier() for part in module_name.split(".")):
        raise InputError(f"{reference!r} cannot be imported", remedy="it must be of the form module:NAME")
    try:
        found = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise InputError(f"{reference!r} cannot be imported", remedy=str(error)) from error
    if not isinstance(found, kind):
        raise InputError(f"{reference!r} is a {type(found).__name__}", remedy=f"it must be a {kind.__name__}")
    return found
