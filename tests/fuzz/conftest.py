"""A thousand cases each, the same in every run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.surroundings import follow


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    follow(monkeypatch)
    for variable in list(os.environ):
        if variable.startswith("EPHEMERA_"):
            monkeypatch.delenv(variable)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
