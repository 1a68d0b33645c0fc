"""Precedence of the settings, and what is refused."""

from __future__ import annotations

from pathlib import Path

from tasker_client.cli.session import Session, cli


def load(flags: dict[str, str | None], environ: dict[str, str], home: Path) -> Session:
    return Session(**cli.settings(flags, environ, home))


def configure(home: Path, text: str) -> None:
    (home / ".tasker").mkdir()
    (home / ".tasker" / "config.toml").write_text(text)


def test_defaults(tmp_path: Path) -> None:
    settings = load({}, {}, tmp_path)
    assert settings.orchestration_url == "http://localhost:8080"
    assert settings.worker_url == "http://localhost:8081"
    assert (settings.timeout_seconds, settings.output) == (10.0, "table")


def test_flag_beats_environment_beats_file_beats_default(tmp_path: Path) -> None:
    configure(tmp_path, 'orchestration_url = "http://file:1"\nworker_url = "http://file:2"\ntimeout_seconds = 3\n')
    environ = {"TASKER_ORCHESTRATION_URL": "http://env:1", "TASKER_WORKER_URL": "http://env:2"}
    settings = load({"orchestration_url": "http://flag:1", "worker_url": None}, environ, tmp_path)
    assert settings.orchestration_url == "http://flag:1"
    assert settings.worker_url == "http://env:2"
    assert settings.timeout_seconds == 3.0
    assert settings.output == "table"
    assert load({}, {}, tmp_path).worker_url == "http://file:2"


def test_an_empty_variable_counts_as_not_set(tmp_path: Path) -> None:
    assert load({}, {"TASKER_WORKER_URL": ""}, tmp_path).worker_url == "http://localhost:8081"
