"""What works without the orchestrator's graph: `-m basic`, also with `--only olav-server`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING
from uuid import uuid4

import httpx
import pytest

if TYPE_CHECKING:
    from ephemera.pytest_plugin.environments import RunningEnvironment

pytestmark = [pytest.mark.basic, pytest.mark.timeout(60, func_only=True)]


def test_health_endpoint(environment: RunningEnvironment, server: httpx.Client) -> None:
    answer = server.get("/health")
    assert (answer.status_code, answer.json()["status"]) == (200, "healthy")
    dependencies = answer.json()["dependencies"]
    # What the environment does not have is not missed.
    assert set(dependencies) == {"postgres", "redis", "opensearch", "llm"} & set(environment.outputs.services)
    for name, found in dependencies.items():
        assert (found["status"], found["error"]) == ("up", None), name
        assert found["latency_ms"] > 0, name


def test_login_success(
    environment: RunningEnvironment, server: httpx.Client, password: Callable[[RunningEnvironment, str], str]
) -> None:
    answer = server.post("/auth/login", json={"username": "viewer", "password": password(environment, "viewer")})
    assert answer.status_code == 200, answer.text
    assert answer.json()["user"] == {"username": "viewer", "role": "viewer"}
    assert answer.json()["access_token"].count(".") == 2


def test_login_failure(server: httpx.Client) -> None:
    answer = server.post("/auth/login", json={"username": f"u{uuid4().hex[:12]}", "password": "not the password"})
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "invalid_credentials"


def test_protected_endpoint_with_auth(people: Mapping[str, httpx.Client]) -> None:
    answer = people["operator"].get("/me")
    assert answer.status_code == 200
    assert (answer.json()["username"], answer.json()["role"]) == ("operator", "operator")


def test_protected_endpoint_without_auth(server: httpx.Client) -> None:
    answer = server.get("/me")
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="olav"'


def test_status_endpoint(people: Mapping[str, httpx.Client]) -> None:
    answer = people["admin"].get("/status")
    assert (answer.status_code, answer.json()["status"]) == (200, "healthy")
    assert answer.json()["user"] == {"username": "admin", "role": "admin"}
    assert set(answer.json()["dependencies"]) == set(people["nobody"].get("/health").json()["dependencies"])
