from __future__ import annotations

import os
from pathlib import Path

import pytest

from ephemera.home.paths import cache_dir, cached_program, checkout_dir, own_cache_dir, state_dir
from ephemera.model.errors import MachineError
from tests.unit.users import belongs_to


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


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return cache_dir()


def test_a_state_that_others_can_read_is_closed_whenever_it_is_opened(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    (tmp_path / "ephemera").mkdir(mode=0o755)
    for _ in range(2):
        state_dir()
        assert (tmp_path / "ephemera").stat().st_mode & 0o777 == 0o700
        (tmp_path / "ephemera").chmod(0o755)


def test_a_fork_looks_for_itself(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    belongs_to(monkeypatch, {cache: 4711})
    assert cache_dir() == cache, "nothing has changed since this process looked"
    monkeypatch.setattr(os, "getpid", lambda: 4711)
    with pytest.raises(MachineError, match=r"cache/ephemera belongs to user 4711, .*XDG_CACHE_HOME"):
        cache_dir()


def test_a_folder_of_the_cache_may_be_for_this_user_alone(cache: Path) -> None:
    (cache / "warm").mkdir()
    (cache / "warm").chmod(0o755)
    assert own_cache_dir("warm").stat().st_mode & 0o777 == 0o700


def test_a_program_of_the_cache_is_looked_at(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = cache / "pulumi"
    path.touch()
    assert cached_program(path) == path
    belongs_to(monkeypatch, {path: 4711})
    with pytest.raises(MachineError, match="pulumi belongs to user 4711"):
        cached_program(path)
