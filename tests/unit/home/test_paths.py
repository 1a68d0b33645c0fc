from __future__ import annotations

from pathlib import Path

import pytest

from ephemera.home.paths import cache_dir, checkout_dir, state_dir


def test_directories_follow_the_xdg_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "a" / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert state_dir() == tmp_path / "a" / "state" / "ephemera"
    assert cache_dir() == tmp_path / "cache" / "ephemera"
    assert state_dir().stat().st_mode & 0o777 == 0o700
    assert cache_dir().stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("value", ["", "relative/state", "./x", "~/state"])
def test_relative_path_is_ignored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: str) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", value)
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert state_dir() == tmp_path / ".local" / "state" / "ephemera"
    assert cache_dir() == tmp_path / ".cache" / "ephemera"


def test_checkout_keeps_one_folder(tmp_path: Path) -> None:
    assert checkout_dir(tmp_path) == checkout_dir(tmp_path) == tmp_path / ".ephemera"
    assert (tmp_path / ".ephemera").is_dir()
