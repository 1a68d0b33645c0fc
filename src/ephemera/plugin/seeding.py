"""A suite's seed data: the catalog's ``System.seed``, called once for an environment before a test sees it."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from docker.errors import DockerException

from ephemera.contract.catalog import Manifest
from ephemera.contract.errors import EngineError, EphemeraError
from ephemera.contract.system import imported
from ephemera.home import leases
from ephemera.host import clock
from ephemera.plugin.failing import shorten

if TYPE_CHECKING:
    from ephemera.plugin.running import RunningEnvironment

_SHOWN_LINES = 12

Seed = Callable[["RunningEnvironment"], None]


class SeedError(EngineError):
    """The seed raised; ``output`` holds the last lines of its traceback."""

    kind = "seed"


def load(system: Manifest) -> Seed | None:
    """Import the system's seed, or None; what is wrong with it is found out before anything is made."""
    if not system.seed:
        return None
    function: Seed = imported(system.seed, Callable)
    return function


def seed(name: str, function: Seed, running: RunningEnvironment) -> float:
    """Call it, close what it was handed out, and remember it in the lease; seconds.

    Raises :class:`SeedError`, after evidence was taken.
    """
    started = clock.monotonic()
    try:
        function(running)
    # A test's own means to end, used in a seed, are no more than any other exception: no test is running.
    except (Exception, pytest.fail.Exception, pytest.skip.Exception) as error:
        failure = _failure(name, running.stack, error)
        with suppress(EphemeraError, DockerException, OSError):  # an engine in trouble may be why
            failure.output += (f"evidence: {running.evidence(failure)}",)
        raise failure from error
    finally:
        running.close()
    leases.change(running.stack, seeded=True)
    running.seeded()
    return clock.monotonic() - started


def _failure(name: str, stack: str, error: BaseException) -> SeedError:
    if isinstance(error, EphemeraError):
        shorten(error)
    told = traceback.TracebackException.from_exception(error)
    told.stack[:] = told.stack[1:]  # the first frame is ours, which called it
    first = next(told.format_exception_only()).strip()
    lines = "".join(told.format(chain=False)).splitlines()
    return SeedError(f"seed {name!r} failed in {stack}", remedy=first, output=lines[-_SHOWN_LINES:])
