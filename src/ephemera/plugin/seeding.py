"""A suite's seed data: the catalog's ``System.seed``, called once for an environment before a test sees it."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

from ephemera.contract.catalog import Manifest
from ephemera.contract.errors import EngineError, EphemeraError
from ephemera.contract.system import imported
from ephemera.plugin.failing import shorten

_SHOWN_LINES = 12


class SeedError(EngineError):
    """The seed raised; ``output`` holds the last lines of its traceback."""

    kind = "seed"


def load(system: Manifest) -> Callable[[Any], None] | None:
    """Import the system's seed, if it has one; raise :class:`~ephemera.contract.errors.InputError` if that fails."""
    if not system.seed:
        return None
    function: Callable[[Any], None] = imported(system.seed, Callable)
    return function


def failure(name: str, stack: str, error: BaseException) -> SeedError:
    """Return the error for seed ``name``, called directly by the caller of this, that raised ``error``."""
    if isinstance(error, EphemeraError):
        shorten(error)
    told = traceback.TracebackException.from_exception(error)
    told.stack[:] = told.stack[1:]  # the first frame is ours, which called it
    first = next(told.format_exception_only()).strip()
    lines = "".join(told.format(chain=False)).splitlines()
    return SeedError(f"seed {name!r} failed in {stack}", remedy=first, output=lines[-_SHOWN_LINES:])
