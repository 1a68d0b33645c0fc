from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import installing

_ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on PATH besides the shell's."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/nowhere")
    return folder


def _put(program: Path, script: str) -> None:
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


@pytest.mark.parametrize("version", ["2.40.3", "v2.29.1", "5.0.0"])
def test_installed_compose_is_taken(programs: Path, version: str) -> None:
    _put(programs / "docker", "echo unknown command >&2; exit 1")
    _put(programs / "docker-compose", f"echo {version}")
    assert installing.compose(print) == ["docker-compose"]


@pytest.mark.parametrize("script", ["echo 1.29.2", "echo nothing", "echo 2.1.0; exit 1"], ids=["old", "odd", "broken"])
def test_compose_that_will_not_do_is_not_taken(programs: Path, script: str) -> None:
    _put(programs / "docker-compose", script)
    executable = installing.built_compose()
    executable.parent.mkdir(parents=True)
    executable.touch()
    assert installing.compose(print) == [str(executable)]


def test_pinned_version_is_the_one_that_is_told() -> None:
    pinned = (_ROOT / "toolchain" / "compose" / "go.mod").read_text()
    assert f"\nrequire github.com/docker/compose/v2 v{installing.COMPOSE_VERSION}\n" in pinned


def test_what_is_installed_is_pinned_with_hashes() -> None:
    lines = (_ROOT / "benchmarks" / "requirements.txt").read_text().splitlines()
    packages = [line for line in lines if line and not line.startswith((" ", "#"))]
    assert packages
    assert all("==" in line and line.endswith("\\") for line in packages)
