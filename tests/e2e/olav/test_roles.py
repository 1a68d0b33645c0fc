"""Who may do what: every role at every endpoint, with every method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.timeout(60, func_only=True)

ROLES = ("nobody", "viewer", "operator", "admin")
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
ASKING: dict[str, Any] = {"input": {"question": "How are passwords stored?"}}

# Status of each endpoint by role, in the order of ROLES. Where a body is not valid, it is refused after the role is.
EVERYBODY, SIGNED_IN = (200, 200, 200, 200), (401, 200, 200, 200)
MATRIX: dict[tuple[str, str], tuple[Any, tuple[int, ...]]] = {
    ("GET", "/health"): (None, EVERYBODY),
    ("GET", "/metrics"): (None, EVERYBODY),
    ("GET", "/docs"): (None, EVERYBODY),
    ("GET", "/redoc"): (None, EVERYBODY),
    ("GET", "/openapi.json"): (None, EVERYBODY),
    ("POST", "/auth/login"): ({}, (422, 422, 422, 422)),
    ("GET", "/me"): (None, SIGNED_IN),
    ("GET", "/status"): (None, SIGNED_IN),
    ("GET", "/orchestrator/input_schema"): (None, SIGNED_IN),
    ("GET", "/orchestrator/output_schema"): (None, SIGNED_IN),
    ("GET", "/orchestrator/config_schema"): (None, SIGNED_IN),
    ("POST", "/orchestrator/invoke"): (ASKING, (401, 403, 200, 200)),
    ("POST", "/orchestrator/batch"): ({"inputs": [ASKING["input"]]}, (401, 403, 200, 200)),
    ("POST", "/orchestrator/stream"): (ASKING, (401, 403, 200, 200)),
    ("POST", "/orchestrator/stream_log"): (ASKING, (401, 403, 200, 200)),
    ("GET", "/users"): (None, (401, 403, 403, 200)),
    ("POST", "/users"): ({}, (401, 403, 403, 422)),
    ("GET", "/users/{username}"): (None, (401, 403, 403, 200)),
    ("PATCH", "/users/{username}"): ({}, (401, 403, 403, 422)),
}
# Tried with a session of its own, which it ends: see test_sessions.
ELSEWHERE = ("POST", "/auth/logout")


@pytest.mark.parametrize(("method", "path"), MATRIX)
def test_each_role_gets_what_is_its_due(people: Mapping[str, httpx.Client], method: str, path: str) -> None:
    body, expected = MATRIX[method, path]
    for role, status in zip(ROLES, expected, strict=True):
        answer = people[role].request(method, path.format(username="viewer"), json=body)
        assert answer.status_code == status, (role, answer.text)
        if status >= 400:
            code = {401: "unauthorized", 403: "forbidden", 422: "invalid_request"}[status]
            assert answer.json()["error"]["code"] == code, role
        assert ("WWW-Authenticate" in answer.headers) == (status == 401), role


def test_the_matrix_has_every_documented_endpoint(people: Mapping[str, httpx.Client]) -> None:
    described = people["nobody"].get("/openapi.json").json()["paths"]
    documented = {(method.upper(), path) for path, methods in described.items() for method in methods}
    # The pages that describe it are not described, nor is what a program reads alone.
    pages = {("GET", path) for path in ("/docs", "/redoc", "/openapi.json", "/metrics")}
    assert documented == (set(MATRIX) | {ELSEWHERE}) - pages


@pytest.mark.parametrize("path", sorted({path for _, path in MATRIX} | {ELSEWHERE[1]}))
def test_methods_that_no_document_names_do_nothing_for_anybody(people: Mapping[str, httpx.Client], path: str) -> None:
    for method in METHODS:
        if (method, path) in MATRIX or (method, path) == ELSEWHERE:
            continue
        for role in ROLES:
            answer = people[role].request(method, path.format(username="viewer"), json={})
            assert answer.status_code == 405, (method, role, answer.text)
            assert answer.json()["error"]["code"] == "method_not_allowed"


@pytest.mark.parametrize(
    "path",
    [
        "/orchestrator/playground/",
        "/orchestrator/feedback",
        "/orchestrator/stream_events",
        "/orchestrator/c/abc/invoke",
        "/orchestrator",
        "/.env",
        "/users/viewer/password",
        "/../etc/passwd",
        "//me",
    ],
)
def test_what_there_is_not_is_not_there_for_anybody(people: Mapping[str, httpx.Client], path: str) -> None:
    for role in ROLES:
        for method in ("GET", "POST"):
            answer = people[role].request(method, path, json={})
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found"), (method, role)


def test_a_role_in_the_body_or_in_a_header_gives_nothing(people: Mapping[str, httpx.Client]) -> None:
    claims = {"X-Role": "admin", "X-User": "admin", "X-Forwarded-User": "admin", "X-HTTP-Method-Override": "GET"}
    assert people["viewer"].get("/users", headers=claims).status_code == 403
    asked = {**ASKING, "config": {"configurable": {"role": "admin", "user": "admin"}}}
    assert people["viewer"].post("/orchestrator/invoke", json=asked).status_code == 403
