"""Precedence of the settings, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from tasker_client.errors import InvalidInputError
from tasker_client.settings import load


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


def test_the_home_is_the_users(home: Path) -> None:
    configure(home, 'output = "json"\n')
    assert load({}).output == "json"


@pytest.mark.parametrize(
    ("flags", "environ", "file", "message"),
    [
        ({"worker_url": "nope"}, {}, "", r"^worker_url \(flag\): 'nope' is no base URL"),
        (
            {},
            {"TASKER_ORCHESTRATION_URL": "ftp://x"},
            "",
            r"^orchestration_url \(TASKER_ORCHESTRATION_URL\): 'ftp://x'",
        ),
        ({}, {}, "timeout_seconds = 0", r"^timeout_seconds \(.*config\.toml\): '0'; must be a number of seconds"),
        ({"timeout_seconds": "nan"}, {}, "", "must be a number of seconds"),
        ({"timeout_seconds": "soon"}, {}, "", "must be a number of seconds"),
        ({}, {"TASKER_OUTPUT": "xml"}, "", r"^output \(TASKER_OUTPUT\): 'xml'; must be json or table"),
        ({}, {}, "url = 1", r"config\.toml: unknown setting 'url'; there are orchestration_url, "),
        ({}, {}, "= broken", r"config\.toml cannot be read"),
    ],
)
def test_a_bad_value_is_refused_with_its_origin_and_the_rule(
    tmp_path: Path, flags: dict[str, str | None], environ: dict[str, str], file: str, message: str
) -> None:
    configure(tmp_path, file)
    with pytest.raises(InvalidInputError, match=message):
        load(flags, environ, tmp_path)
