"""The face of the package."""

from __future__ import annotations

import tasker_client
from chassis import client


def test_everything_exported_is_there_and_sorted() -> None:
    assert tasker_client.__all__ == sorted(tasker_client.__all__)
    assert all(hasattr(tasker_client, name) for name in tasker_client.__all__)


def test_every_error_is_exported() -> None:
    kinds = {name for name, kind in vars(client).items() if isinstance(kind, type) and issubclass(kind, Exception)}
    assert kinds - {"ValidationError"} <= set(tasker_client.__all__)
