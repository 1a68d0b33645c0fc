"""Surroundings for tests of what reads them: they follow what a test sets, as if its process had started with it."""

from __future__ import annotations

import os
from collections.abc import Mapping

import pytest

from ephemera.host import surroundings


class Following:
    """In the place of :class:`ephemera.host.surroundings.Surroundings`: what is there when it is asked for."""

    @property
    def variables(self) -> Mapping[str, str]:
        return os.environ

    @property
    def folder(self) -> str | None:
        return surroundings._working_directory()


def follow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have everything of ours see what tests set from now on."""
    monkeypatch.setattr(surroundings, "_kept", Following())
