"""Files of other users, for tests that run as one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest


def belongs_to(monkeypatch: pytest.MonkeyPatch, owners: Mapping[Path, int]) -> None:
    """Have each of these paths belong to the user of that number."""
    real = Path.stat
    wanted = {os.path.normpath(path): user for path, user in owners.items()}

    def stat(path: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        status = real(path, follow_symlinks=follow_symlinks)
        fields = list(status)
        fields[4] = wanted.get(os.path.normpath(path), status.st_uid)
        return os.stat_result(fields)

    monkeypatch.setattr(Path, "stat", stat)
    monkeypatch.setattr(Path, "lstat", lambda path: stat(path, follow_symlinks=False))
