"""What a project declares: its systems, each with one program.

A project is a folder with a ``Pulumi.yaml`` and a ``__main__.py`` that ends with ``run(…)``. Its systems are those that
``[tool.ephemera] catalog = "stacks.catalog:SYSTEMS"`` in ``pyproject.toml`` names, or else the arguments of ``run``.
"""

from __future__ import annotations

import importlib
import runpy
import sys
import tomllib
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from ephemera.model import declared
from ephemera.model.catalog import Option
from ephemera.model.errors import EphemeraError, InputError
from ephemera.model.names import check_system_name
from ephemera.model.runner import Runner
from ephemera.model.settings import CONFIG_KEYS

_PROGRAM = "__main__.py"
_P = TypeVar("_P", bound=Callable[[Any], object])


@dataclass(kw_only=True, eq=False)
class System:
    """One system: its program, its tests and its settings.

    ``name``: 1 to 24 lower-case letters, digits and ``-``. ``suite``: folder of its tests, relative to the project.
    ``description``: one line. ``options``: its own settings, by name. ``fixed_ports``: tables for ``expose: fixed``,
    table → ``service.endpoint`` → port on 127.0.0.1. ``exceptions``: from :mod:`ephemera.resources.policy`,
    ``<resource>.<rule>`` → reason. ``seed``: ``module:function`` that loads the suite's data, called once with each
    ``ephemera.RunningEnvironment`` before its first test. ``runner``: the container that runs the
    suite in the environment's network, with ``--in-network``.

    Raises :class:`InputError` for any other value.
    """

    name: str = field(kw_only=False)
    suite: str = "tests"
    description: str = ""
    options: Mapping[str, Option] = field(default_factory=dict)
    fixed_ports: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    exceptions: Mapping[str, str] = field(default_factory=dict)
    seed: str = ""
    runner: Runner | None = None

    def __post_init__(self) -> None:
        declared.expect("name of a system", self.name, str, "a text")
        check_system_name(self.name)
        for name in ("suite", "description", "seed"):
            declared.expect(name, getattr(self, name), str, "a text")
        declared.check_mapping("options", self.options, Option, "an Option")
        declared.check_option_names(self.options, CONFIG_KEYS)
        declared.check_mapping("exceptions", self.exceptions, str, "a reason")
        if self.runner is not None:
            declared.expect("runner", self.runner, Runner, "a Runner")
        self._program: Callable[[Any], object] | None = None

    def program(self, program: _P) -> _P:
        """Decorate the function of the environment that declares the system's services."""
        self._program = program
        return program

    def declare(self, environment: Any) -> None:
        """Run the program in ``environment``."""
        if self._program is None:
            raise InputError(
                f"system {self.name!r} has no program", remedy=f"decorate a function with @{self.name}.program"
            )
        self._program(environment)


_COLLECTED: ContextVar[list[System] | None] = ContextVar("collected", default=None)


def collected(systems: Sequence[System]) -> bool:
    """Return whether ``__main__.py`` is only read, by :func:`load_systems`; then record its ``systems``."""
    found = _COLLECTED.get()
    if found is not None:
        found.extend(systems)
    return found is not None


def find_project(start: Path) -> Path:
    """Return the nearest folder from ``start`` upwards that is a project; raise :class:`InputError` without one.

    A project has a ``Pulumi.yaml``, and a catalog in its ``pyproject.toml`` or ephemera in its ``__main__.py``.
    """
    for folder in (start, *start.parents):
        if (folder / "Pulumi.yaml").is_file() and (_setting(folder, "catalog") or _is_ours(folder / _PROGRAM)):
            return folder
    raise InputError(
        f"no ephemera project in {start} or above it",
        remedy="a project has a Pulumi.yaml, and a __main__.py that ends with ephemera.run(…)",
    )


def load_systems(project: Path) -> dict[str, System]:
    """Import the project's systems by name, with its folder first on ``sys.path``, as under ``pulumi up``.

    Raises :class:`InputError` for whatever the project's code raises.
    """
    put_on_path(project)
    reference = _setting(project, "catalog")
    if reference is not None:
        found = imported(reference, (System, Sequence, Mapping))
        where = reference
    else:
        found, where = _ran(project / _PROGRAM), str(project / _PROGRAM)
    systems = [found] if isinstance(found, System) else list(found.values() if isinstance(found, Mapping) else found)
    by_name: dict[str, System] = {}
    for system in systems:
        declared.expect(f"a system of {where}", system, System, "a System")
        if system.name in by_name:
            raise InputError(f"{where} has two systems {system.name!r}", remedy="give each a name of its own")
        by_name[system.name] = system
    return by_name


def put_on_path(project: Path) -> None:
    """Import modules of the project first, as under ``pulumi up``."""
    if str(project) not in sys.path:
        sys.path.insert(0, str(project))


def imported(reference: str, kind: Any) -> Any:
    """Import and return ``module:NAME``; raise :class:`InputError` unless it exists and is of that kind."""
    module_name, _, attribute = reference.partition(":")
    if not attribute or not all(part.isidentifier() for part in module_name.split(".")):
        raise InputError(f"{reference!r} cannot be imported", remedy="it must be of the form module:NAME")
    with refusing(f"{reference!r} cannot be imported"):
        found = getattr(importlib.import_module(module_name), attribute)
    if not isinstance(found, kind):
        named = kind[0] if isinstance(kind, tuple) else kind
        raise InputError(f"{reference!r} is a {type(found).__name__}", remedy=f"it must be a {named.__name__}")
    return found


def _ran(program: Path) -> list[System]:
    """Run a ``__main__.py``, whose ``run(…)`` only records its systems, and return them."""
    systems: list[System] = []
    token = _COLLECTED.set(systems)
    try:
        with refusing(f"{program} cannot be imported"):
            runpy.run_path(str(program))
    finally:
        _COLLECTED.reset(token)
    if not systems:
        raise InputError(f"{program} runs no system", remedy="end it with ephemera.run(…)")
    return systems


@contextmanager
def refusing(message: str) -> Iterator[None]:
    """Turn an error of the project's code into an :class:`InputError` with ``message``, and the error and its place."""
    try:
        yield
    except EphemeraError:
        raise
    except (Exception, SystemExit) as error:  # a project's module may raise anything
        raise InputError(message, remedy=_told(error)) from error


def _is_ours(program: Path) -> bool:
    try:
        return "ephemera" in program.read_text(errors="replace")
    except OSError:
        return False


def default_system(project: Path, systems: Iterable[str]) -> str:
    """Return the project's only system, or else the one that ``[tool.ephemera] system`` names."""
    names = tuple(systems)
    configured = _setting(project, "system")
    if configured is not None or len(names) == 1:
        return names[0] if configured is None else configured
    raise InputError(
        f"this project has several systems: {', '.join(names)}",
        remedy='name one, or set it for this project: [tool.ephemera] system = "…" in pyproject.toml',
    )


def _setting(project: Path, name: str) -> str | None:
    try:
        document = tomllib.loads((project / "pyproject.toml").read_text())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"{project / 'pyproject.toml'} cannot be read", remedy=error.strerror or str(error)) from error
    except (ValueError, RecursionError) as error:  # TOML's error is a ValueError, as are invalid encodings
        raise InputError(f"{project / 'pyproject.toml'} is not valid TOML", remedy=str(error)) from error
    table: Any = document
    for key in ("tool", "ephemera", name):
        table = table.get(key) if isinstance(table, dict) else None
    return table if isinstance(table, str) else None


def _told(error: BaseException) -> str:
    """Return the error and, if Python knows it, the file and line of the project's code."""
    ours = ("importlib", "runpy", __file__)
    frames = [each for each in traceback.extract_tb(error.__traceback__) if not any(o in each.filename for o in ours)]
    where = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{where}"
