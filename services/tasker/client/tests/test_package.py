"""The face of the package."""

from __future__ import annotations

import tasker_client
from tasker_client import errors


def test_everything_exported_is_there_and_sorted() -> None:
    assert tasker_client.__all__ == sorted(tasker_client.__all__)
    assert all(hasattr(tasker_client, name) for name in tasker_client.__all__)


def test_every_error_is_exported_and_drawn_in_the_tree() -> None:
    kinds = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)}
    assert kinds <= set(tasker_client.__all__)
    assert errors.__doc__ is not None
    assert all(name in errors.__doc__ for name in kinds)
