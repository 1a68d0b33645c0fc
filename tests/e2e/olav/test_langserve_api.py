"""The platform as its users see it: health, logins, the orchestrator by each of its routes, the command line."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import pytest

if TYPE_CHECKING:
    from ephemera.pytest_plugin.environments import RunningEnvironment

pytestmark = pytest.mark.timeout(60, func_only=True)

ROLES = ("admin", "operator", "viewer")
QUESTION = "Why was OpenSearch killed with exit code 137?"
Stream = Callable[..., list[tuple[str, Any]]]


def test_server_health_check(server: httpx.Client) -> None:
    answer = server.get("/health")
    assert answer.status_code == 200, answer.text
    document = answer.json()
    assert (document["status"], document["service"]) == ("healthy", "olav-server")
    assert set(document["dependencies"]) == {"postgres", "redis", "opensearch", "llm"}
    assert {found["status"] for found in document["dependencies"].values()} == {"up"}
    assert all(found["latency_ms"] > 0 for found in document["dependencies"].values())


def test_authentication_login_success(
    environment: RunningEnvironment, server: httpx.Client, password: Callable[[RunningEnvironment, str], str]
) -> None:
    for role in ROLES:
        answer = server.post("/auth/login", json={"username": role, "password": password(environment, role)})
        assert answer.status_code == 200, answer.text
        login = answer.json()
        assert (login["token_type"], login["user"]) == ("bearer", {"username": role, "role": role})
        assert login["expires_in"] > 0
        assert answer.headers["Cache-Control"] == "no-store"
        me = server.get("/me", headers={"Authorization": f"Bearer {login['access_token']}"})
        assert (me.status_code, me.json()["role"]) == (200, role)


def test_authentication_login_failure(server: httpx.Client) -> None:
    refused = [
        server.post("/auth/login", json={"username": username, "password": "wrong, and long enough"})
        for username in ("viewer", f"u{uuid4().hex[:12]}")
    ]
    assert [answer.status_code for answer in refused] == [401, 401]
    assert refused[0].headers["WWW-Authenticate"] == 'Bearer realm="olav"'
    # Nobody learns which names there are.
    errors = [answer.json()["error"] for answer in refused]
    assert [error.pop("request_id") for error in errors] == [answer.headers["X-Request-ID"] for answer in refused]
    assert errors[0] == errors[1]
    assert errors[0]["code"] == "invalid_credentials"


def test_protected_endpoint_with_valid_token(people: Mapping[str, httpx.Client]) -> None:
    for role in ROLES:
        answer = people[role].get("/me")
        assert answer.status_code == 200, answer.text
        assert (answer.json()["username"], answer.json()["role"]) == (role, role)
        assert answer.json()["session"]["created_at"] < answer.json()["session"]["expires_at"]


def test_protected_endpoint_without_token(server: httpx.Client) -> None:
    for path in ("/me", "/status", "/users", "/orchestrator/input_schema"):
        answer = server.get(path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized"), path
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="olav"', path


def test_protected_endpoint_with_invalid_token(server: httpx.Client) -> None:
    for value in ("Bearer not-a-token", "Bearer a.b.c", "Bearer", "Basic dXNlcjpwYXNz", "nonsense"):
        answer = server.get("/me", headers={"Authorization": value})
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized"), value
        assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="olav"'), value


def test_status_endpoint_with_auth(people: Mapping[str, httpx.Client]) -> None:
    for role in ROLES:
        answer = people[role].get("/status")
        assert (answer.status_code, answer.json()["status"]) == (200, "healthy")
        assert answer.json()["user"] == {"username": role, "role": role}
        assert set(answer.json()["dependencies"]) == {"postgres", "redis", "opensearch", "llm"}
    assert people["nobody"].get("/status").status_code == 401


def test_workflow_invoke_endpoint(operator: httpx.Client, thread: str) -> None:
    answer = operator.post(
        "/orchestrator/invoke",
        json={"input": {"question": QUESTION}, "config": {"configurable": {"thread_id": thread}}},
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["metadata"]["run_id"]
    output = answer.json()["output"]
    assert (output["thread_id"], output["turn"]) == (thread, 1)
    # The double quotes the question and what it was given as context.
    assert QUESTION in output["answer"]
    assert "From the context:" in output["answer"]
    assert output["category"] == "search"
    scores = [document["score"] for document in output["documents"]]
    assert scores == sorted(scores, reverse=True)
    assert output["documents"][0]["id"] == "opensearch-memory"
    assert "-Xms512m -Xmx512m" in output["answer"], "the model was shown what the document says"


def test_workflow_stream_endpoint(operator: httpx.Client, stream: Stream, thread: str) -> None:
    events = stream(operator, QUESTION, thread)
    assert [name for name, _ in events[:1] + events[-1:]] == ["metadata", "end"]
    assert {name for name, _ in events[1:-1]} == {"data"}
    data = [data for _, data in events[1:-1]]
    assert [each["type"] for each in data] == ["token"] * (len(data) - 1) + ["final"]
    assert len(data) > 5
    output = data[-1]["output"]
    assert "".join(each["content"] for each in data[:-1]) == output["answer"]
    assert QUESTION in output["answer"]
    assert (output["thread_id"], output["turn"]) == (thread, 1)


def test_cli_client_remote_mode(
    environment: RunningEnvironment,
    cli: Callable[..., subprocess.CompletedProcess[str]],
    password: Callable[[RunningEnvironment, str], str],
) -> None:
    secret = password(environment, "operator")
    done = cli("login", "operator", "--password-stdin", stdin=secret)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert secret not in done.stdout
    done = cli("status", "--output", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["user"]["username"] == "operator"
    done = cli("ask", QUESTION)
    assert done.returncode == 0, done.stderr
    assert QUESTION in done.stdout


def test_error_handling_malformed_request(operator: httpx.Client) -> None:
    bodies: tuple[dict[str, Any], ...] = (
        {},
        {"input": {}},
        {"input": "a text"},
        {"input": {"question": ""}},
        {"input": {"question": 7}},
        {"input": {"question": "x" * 4001}},
        {"input": {"question": QUESTION, "more": 1}},
        {"input": {"question": QUESTION}, "config": {"configurable": {"thread_id": "no spaces"}}},
    )
    for body in bodies:
        answer = operator.post("/orchestrator/invoke", json=body)
        assert answer.status_code == 422, (body, answer.text)
        error = answer.json()["error"]
        assert (error["code"], error["request_id"]) == ("invalid_request", answer.headers["X-Request-ID"])
        assert error["message"]
    nonsense = operator.post("/orchestrator/invoke", content=b"{nonsense", headers={"Content-Type": "application/json"})
    assert (nonsense.status_code, nonsense.json()["error"]["code"]) == (422, "invalid_request")


def test_langserve_remote_runnable(environment: RunningEnvironment, operator: httpx.Client) -> None:
    from langserve import RemoteRunnable  # which takes a second to import

    remote: Any = RemoteRunnable(
        f"{environment.endpoint('olav-server').url}/orchestrator",
        headers={"Authorization": operator.headers["Authorization"]},
        use_server_callback_events=False,
        client_kwargs={"trust_env": False},
    )
    output = remote.invoke({"question": QUESTION})
    assert QUESTION in output["answer"]
    pieces = list(remote.stream({"question": QUESTION}))
    assert "".join(piece["content"] for piece in pieces[:-1]) == pieces[-1]["output"]["answer"] == output["answer"]
    answers = remote.batch([{"question": QUESTION}, {"question": "How are passwords stored?"}])
    assert answers[0]["answer"] == output["answer"]
    assert "How are passwords stored?" in answers[1]["answer"]
