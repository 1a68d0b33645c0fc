"""The server around its endpoints: request ids, pages, metrics over all workers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import httpx
import pytest

if TYPE_CHECKING:
    from ephemera.pytest_plugin.environments import RunningEnvironment

pytestmark = pytest.mark.timeout(60, func_only=True)


def metric(server: httpx.Client, name: str, **labels: str) -> float:
    """The sum of a metric's samples with these labels."""
    total = 0.0
    for line in server.get("/metrics").text.splitlines():
        sample = re.fullmatch(rf"{name}(?:{{(.*)}})? (\S+)", line)
        if sample and all(f'{key}="{value}"' in (sample[1] or "") for key, value in labels.items()):
            total += float(sample[2])
    return total


def test_every_answer_has_a_request_id(server: httpx.Client) -> None:
    for path in ("/health", "/me", "/nowhere", "/docs", "/metrics"):
        assert UUID(server.get(path).headers["X-Request-ID"]), path
    own = f"mine-{uuid4()}"
    answer = server.get("/me", headers={"X-Request-ID": own})
    assert answer.headers["X-Request-ID"] == answer.json()["error"]["request_id"] == own
    for wrong in ("x" * 65, "no spaces", "new\tline"):
        assert server.get("/me", headers={"X-Request-ID": wrong}).headers["X-Request-ID"] != wrong


def test_the_log_has_the_request_and_no_secret(
    environment: RunningEnvironment, sign_in: Callable[..., httpx.Client], eventually: Callable[..., Any]
) -> None:
    client, own = sign_in(environment, "viewer"), f"mine-{uuid4()}"
    client.get("/me", headers={"X-Request-ID": own})
    client.get("/me", headers={"X-Request-ID": own, "Authorization": "Bearer some.forged.token"})
    eventually("both in the log", lambda: environment.service("olav-server").logs().count(own) >= 2)
    logs = environment.service("olav-server").logs() + environment.service("olav-init").logs()
    secrets = {
        f"{service}.{purpose}": secret.get_secret_value()
        for service, outputs in environment.outputs.services.items()
        for purpose, secret in outputs.credentials.items()
        if purpose not in ("user", "database")
    } | {"token": client.headers["Authorization"].removeprefix("Bearer "), "forged": "some.forged.token"}
    assert [name for name, secret in secrets.items() if secret in logs] == []


def test_the_api_is_described(server: httpx.Client) -> None:
    described = server.get("/openapi.json").json()
    assert described["info"]["title"]
    assert described["info"]["version"] == server.get("/health").json()["version"]
    for path in ("/docs", "/redoc"):
        page = server.get(path)
        assert page.headers["Content-Type"].startswith("text/html"), path
        assert "/openapi.json" in page.text, path


def test_metrics_are_summed_over_the_workers(server: httpx.Client) -> None:
    name, labels = "olav_http_requests_total", {"method": "GET", "route": "/me", "status": "401"}
    before = metric(server, name, **labels)
    for _ in range(20):
        # A connection each: a worker is chosen when one is opened.
        assert server.get("/me", headers={"Connection": "close"}).status_code == 401
    assert metric(server, name, **labels) - before >= 20
    assert metric(server, "olav_dependency_up") >= 2


def test_metrics_tell_logins_and_runs(
    environment: RunningEnvironment, people: Mapping[str, httpx.Client], ask: Callable[..., dict[str, Any]]
) -> None:
    server = people["nobody"]
    names = ("olav_logins_total", "olav_orchestrator_runs_total", "olav_orchestrator_step_seconds_count")
    before = [metric(server, name) for name in names]
    wrong = {"username": f"u{uuid4().hex[:12]}", "password": "not the password"}
    assert server.post("/auth/login", json=wrong).status_code == 401
    ask(people["operator"], "How are passwords stored?")
    after = [metric(server, name) for name in names]
    assert [found - known >= least for found, known, least in zip(after, before, (1, 1, 3), strict=True)] == [True] * 3
    # Nothing that somebody sends becomes a label.
    server.get(f"/{wrong['username']}")
    assert wrong["username"] not in server.get("/metrics").text


def test_what_is_no_json_is_refused(server: httpx.Client) -> None:
    headers = {"Content-Type": "application/json"}
    answer = server.post("/auth/login", content=b"{nonsense", headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_request")
    assert server.post("/auth/login", content=b"x" * 300_000, headers=headers).status_code == 413
    refusals: tuple[Any, ...] = ([], "text", {"username": "viewer"}, {"username": 1, "password": "x"})
    for wrong in refusals:
        answer = server.post("/auth/login", json=wrong)
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_request"), wrong
