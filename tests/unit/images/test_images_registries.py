"""Credentials cost no pull that needs none; whether a registry answers is found out once."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ephemera.docker import connection
from ephemera.home.paths import state_dir
from ephemera.images import ImageMissingError, mode, registries
from ephemera.images.registries import credentials, pull
from ephemera.model.errors import InputError, MachineError

_REFERENCE = "registry.example/x:1"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path / "config.json"


def test_helper_that_is_missing_costs_the_credentials_only(config: Path, recwarn: pytest.WarningsRecorder) -> None:
    config.write_text('{"credsStore": "not-there"}')
    why = f"docker-credential-not-there not installed or not available in PATH (named in {config})"
    assert credentials(_REFERENCE) == ({}, why)
    assert not list(recwarn)


def test_missing_helper_of_another_registry_is_not_asked(config: Path) -> None:
    config.write_text('{"credHelpers": {"other.example": "not-there"}}')
    assert credentials(_REFERENCE) == ({}, "")


@pytest.mark.parametrize("script", ["echo broken >&2; exit 1", "echo no JSON", "echo [1]", "echo {}"])
def test_helper_that_is_broken_costs_the_credentials_only(config: Path, script: str) -> None:
    _helper(config, "broken", script)
    config.write_text('{"credHelpers": {"registry.example": "broken"}}')
    given, why = credentials(_REFERENCE)
    assert given == {}
    assert why.endswith(f"(named in {config})")


def test_helper_that_works_is_used(config: Path) -> None:
    _helper(config, "working", """echo '{"Username": "me", "Secret": "s"}'""")
    config.write_text('{"credsStore": "working"}')
    given, why = credentials(_REFERENCE)
    assert (given["Username"], given["Password"], why) == ("me", "s", "")


def _helper(config: Path, name: str, script: str) -> None:
    helper = config.parent / f"docker-credential-{name}"
    helper.write_text(f"#!/bin/sh\n{script}\n")
    helper.chmod(0o755)


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ([], "it is not a JSON object"),
        ({"auths": {"r.example": "x"}}, "r.example in auths is not an object"),
        ({"auths": {"r.example": {"auth": "%%%"}}}, "auth of r.example is not Base64"),
        ({"auths": {"r.example": {"auth": 7}}}, "auth of r.example is not Base64"),
        ({"auths": {"r.example": {"auth": "YWJj"}}}, "auth of r.example has no user and password"),
        ({"proxies": None}, "proxies is not an object"),
        ({"HttpHeaders": 7}, "HttpHeaders is not an object"),
        ({"proxies": {"default": "x"}}, "default in proxies is not an object"),
    ],
)
def test_damaged_configuration_is_one_line_and_not_an_engine_that_is_silent(
    config: Path, monkeypatch: pytest.MonkeyPatch, document: object, problem: str
) -> None:
    config.write_text(json.dumps(document))
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    with pytest.raises(MachineError) as caught:
        connection.connect()
    assert str(caught.value) == f"{config} is damaged: {problem}: mend it, or move it away and run `docker login` again"


@pytest.mark.parametrize("document", [{"credsStore": 7}, {"credHelpers": "x"}])
def test_damage_that_shows_at_a_pull_only_is_one_line(config: Path, document: dict[str, Any]) -> None:
    config.write_text(json.dumps(document))
    with pytest.raises(MachineError, match=f"{config} is damaged: {next(iter(document))} is not a"):
        credentials(_REFERENCE)


@pytest.mark.parametrize("text", ["", "{", "\x00"])
def test_file_that_is_no_json_is_as_good_as_none(config: Path, text: str) -> None:
    config.write_text(text)
    assert credentials(_REFERENCE) == ({}, "")


def test_pull_that_is_refused_without_credentials_says_why_there_were_none(config: Path) -> None:
    config.write_text('{"credsStore": "not-there"}')
    asked: list[str] = []

    def refused(reference: str, **_: Any) -> list[dict[str, str]]:
        asked.append(reference)
        return [{"error": "denied"}]

    lines: list[str] = []
    with pytest.raises(ImageMissingError) as caught:
        pull(SimpleNamespace(api=SimpleNamespace(pull=refused)), "registry.example/x", lines.append)
    assert asked == ["registry.example/x:latest"]
    why = f"docker-credential-not-there not installed or not available in PATH (named in {config})"
    assert lines == [f"registry.example/x: pulled without credentials: {why}"]
    assert "denied: it was asked without credentials, since docker-credential-not-there" in str(caught.value)


def test_the_environment_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registries, "_answers", lambda: pytest.fail("asked"))
    monkeypatch.setenv("EPHEMERA_IMAGES", "registry")
    assert mode() == "registry"
    assert not (state_dir() / "machine.json").exists()


def test_it_is_found_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([False])
    monkeypatch.setattr(registries, "_answers", lambda: next(answers))
    monkeypatch.setenv("EPHEMERA_IMAGES", "auto")
    assert [mode(), mode()] == ["local", "local"]


def test_other_facts_of_the_machine_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    (state_dir() / "machine.json").write_text('{"other": 1}')
    monkeypatch.setattr(registries, "_answers", lambda: False)
    mode()
    assert json.loads((state_dir() / "machine.json").read_text()) == {"other": 1, "images": "local", "schema": 1}


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"images": "newest"}', '{"images": ["local"]}'])
def test_a_damaged_record_is_made_good(monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    (state_dir() / "machine.json").write_text(content)
    monkeypatch.setattr(registries, "_answers", lambda: True)
    assert mode() == "registry"


def test_an_unknown_mode_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EPHEMERA_IMAGES", "remote")
    with pytest.raises(InputError, match="EPHEMERA_IMAGES is 'remote': use registry, local or auto"):
        mode()
