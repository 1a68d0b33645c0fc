"""Credentials are asked for where they are needed, and missing ones stop nothing that needs none."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import docker
import docker.auth
import pytest
from docker.errors import APIError

from ephemera.contract.errors import MachineError
from ephemera.host import engine
from ephemera.images import ImageMissingError
from ephemera.images.registries import authorized, pull


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path / "config.json"


@cache
def _client() -> docker.DockerClient:
    """Of an engine that is never asked."""
    return docker.DockerClient(base_url="tcp://127.0.0.1:1", version="1.41")


def _looked_up(given: Mapping[str, Any] | None) -> str | None:
    """What docker-py sends a registry, as its methods do: a header, looked up when nothing is given."""
    if given is not None:
        return f"given {dict(given)}"
    header: str | None = docker.auth.get_config_header(_client().api, "registry.example")
    return header


def test_helper_that_is_missing_costs_the_credentials_only(config: Path, recwarn: pytest.WarningsRecorder) -> None:
    config.write_text('{"credsStore": "not-there"}')
    told: list[str] = []
    assert authorized(_client(), _looked_up, told.append) == "given {}"
    (why,) = told
    assert why == f"docker-credential-not-there not installed or not available in PATH (named in {config})"
    assert not list(recwarn)


def test_missing_helper_of_another_registry_is_not_asked(config: Path) -> None:
    config.write_text('{"credHelpers": {"other.example": "not-there"}}')
    assert authorized(_client(), _looked_up) is None


@pytest.mark.parametrize("script", ["echo broken >&2; exit 1", "echo no JSON", "echo [1]", "echo {}"])
def test_helper_that_is_broken_costs_the_credentials_only(config: Path, script: str) -> None:
    helper = config.parent / "docker-credential-broken"
    helper.write_text(f"#!/bin/sh\n{script}\n")
    helper.chmod(0o755)
    config.write_text('{"credHelpers": {"registry.example": "broken"}}')
    assert authorized(_client(), _looked_up) == "given {}"


def test_helper_that_works_is_used(config: Path) -> None:
    helper = config.parent / "docker-credential-working"
    helper.write_text('#!/bin/sh\necho \'{"Username": "me", "Secret": "s"}\'\n')
    helper.chmod(0o755)
    config.write_text('{"credsStore": "working"}')
    header = authorized(_client(), _looked_up, pytest.fail)
    assert header is not None
    assert json.loads(base64.b64decode(header))["Username"] == "me"


def test_what_the_engine_answers_is_asked_once(config: Path) -> None:
    config.write_text('{"credsStore": "not-there"}')
    asked: list[object] = []

    def ask(given: object) -> None:
        asked.append(given)
        raise APIError("denied", response=SimpleNamespace(status_code=403, reason="", url=""))

    with pytest.raises(APIError):
        authorized(_client(), ask)
    assert asked == [None]


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ([], "it is not a JSON object"),
        ({"auths": {"r.example": "x"}}, "r.example in auths is not an object"),
        ({"auths": {"r.example": {"auth": "%%%"}}}, "auth of r.example is not Base64"),
        ({"auths": {"r.example": {"auth": 7}}}, "auth of r.example is not Base64"),
        ({"auths": {"r.example": {"auth": "YWJj"}}}, "auth of r.example has no user and password"),
        ({"proxies": None}, "proxies is not an object"),
        ({"proxies": {"default": "x"}}, "default in proxies is not an object"),
    ],
)
def test_damaged_configuration_is_one_line_and_not_an_engine_that_is_silent(
    config: Path, monkeypatch: pytest.MonkeyPatch, document: object, problem: str
) -> None:
    config.write_text(json.dumps(document))
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    with pytest.raises(MachineError) as caught:
        engine.connect()
    assert str(caught.value) == f"{config} is damaged: {problem}: mend it, or move it away and run `docker login` again"


@pytest.mark.parametrize("document", [{"credsStore": 7}, {"credHelpers": "x"}, {"HttpHeaders": 7}])
def test_damage_that_shows_at_a_pull_only_is_one_line(config: Path, document: dict[str, Any]) -> None:
    config.write_text(json.dumps(document))
    with pytest.raises(MachineError, match=f"{config} is damaged: {next(iter(document))} is not a"):
        pull(_client.__wrapped__(), "registry.example/x:1", lambda _: None)


@pytest.mark.parametrize("text", ["", "{", "\x00"])
def test_file_that_is_no_json_is_as_good_as_none(config: Path, text: str) -> None:
    config.write_text(text)
    assert authorized(_client(), _looked_up) is None


def test_pull_that_is_refused_without_credentials_says_why_there_were_none(config: Path) -> None:
    config.write_text('{"credsStore": "not-there"}')

    def refused(_: str, **given: Any) -> list[dict[str, str]]:
        _looked_up(given["auth_config"])
        return [{"error": "denied"}]

    lines: list[str] = []
    api = SimpleNamespace(pull=refused, reload_config=_client().api.reload_config)
    with pytest.raises(ImageMissingError) as caught:
        pull(SimpleNamespace(api=api), "registry.example/x:1", lines.append)
    why = f"docker-credential-not-there not installed or not available in PATH (named in {config})"
    assert lines == [f"registry.example/x:1: pulled without credentials: {why}"]
    assert "denied: it was asked without credentials, since docker-credential-not-there" in str(caught.value)
