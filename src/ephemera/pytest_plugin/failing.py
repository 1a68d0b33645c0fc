"""Errors of the driver as failures or skips of tests, fixtures and collections."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

import pytest

from ephemera.model.errors import EphemeraError, MachineError
from ephemera.model.text import printable

NO_ENVIRONMENT = "no environment: "
"""Start of the reason for skipping a test because the machine cannot have an environment."""
NO_SERVICE = "no service: "
"""Start of the reason for skipping a test because its environment lacks a service."""

_FRAMEWORK = ("_pytest", "pluggy")


@contextmanager
def failing_plainly(*, required: bool) -> Iterator[None]:
    """Fail with the error's own lines, without the traceback through the driver.

    Unless services are ``required``, skip on a machine that cannot have an environment at all.
    """
    try:
        yield
    except EphemeraError as error:
        if isinstance(error, MachineError) and not required:
            raise pytest.skip.Exception(NO_ENVIRONMENT + " ".join(str(error).split())) from None
        raise pytest.fail.Exception("\n".join((str(error), *_tail(error))), pytrace=False) from None


def shorten(error: EphemeraError) -> None:
    """End the traceback where the test called us, and add the error's last lines to its message."""
    error.__cause__ = error.__context__ = None
    for line in _tail(error):
        error.add_note(line)
    inside, step = False, error.__traceback__
    while step is not None and step.tb_next is not None:
        inside = inside or _room(step) not in ("ephemera", *_FRAMEWORK)
        if inside and _room(step.tb_next) == "ephemera":
            step.tb_next = None
        step = step.tb_next


def _tail(error: EphemeraError) -> list[str]:
    return [f"  {printable(line)}" for line in error.last_lines]


def _room(step: TracebackType) -> str:
    return str(step.tb_frame.f_globals.get("__name__", "")).partition(".")[0]
