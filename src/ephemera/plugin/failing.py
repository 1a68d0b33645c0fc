"""How an error of the driver fails a test, a fixture or a module's collection."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ephemera.contract.errors import EphemeraError


@contextmanager
def failing_plainly() -> Iterator[None]:
    """Fail with the error's own lines: the traceback through the driver says nothing more."""
    try:
        yield
    except EphemeraError as error:
        lines = [f"  {line}" for line in error.details().get("log_tail", ())]
        raise pytest.fail.Exception("\n".join((str(error), *lines)), pytrace=False) from None
