"""Retries, time-outs, and answers turned into models or errors."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest
from conftest import TASK_UUID, Clock, Documents, Server
from tasker_client import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    OrchestrationClient,
    RejectedError,
    ResponseError,
    ServerError,
    UnavailableError,
    UnexpectedResponseError,
    UnreachableError,
)

MakeTask = Callable[..., Documents]
URL = "http://orchestration.test:8080"


@pytest.fixture
def client(transport: httpx.MockTransport) -> OrchestrationClient:
    return OrchestrationClient(URL + "/", transport=transport)


@pytest.mark.parametrize(
    "failure",
    [
        httpx.ConnectError("refused"),
        httpx.ReadError("reset"),
        httpx.RemoteProtocolError("closed without an answer"),
        httpx.ConnectTimeout("slow"),
    ],
)
def test_a_broken_connection_is_retried_with_growing_pauses(
    client: OrchestrationClient, server: Server, clock: Clock, task_document: MakeTask, failure: httpx.TransportError
) -> None:
    server.answers(failure, failure, httpx.Response(200, json=task_document()))
    assert str(client.get_task(TASK_UUID).task_uuid) == TASK_UUID
    assert clock.pauses == [0.1, 0.2]


def test_after_the_last_try_the_error_names_address_reason_and_tries(
    client: OrchestrationClient, server: Server, clock: Clock
) -> None:
    server.answers(httpx.ConnectError("connection refused"))
    with pytest.raises(
        UnreachableError, match=rf"^no answer from {URL}/v1/namespaces after 4 tries: connection refused$"
    ):
        client.list_namespaces()
    assert len(server.requests) == 4
    assert len(clock.pauses) == 3


def test_a_slow_answer_is_not_asked_for_again(client: OrchestrationClient, server: Server, clock: Clock) -> None:
    server.answers(httpx.ReadTimeout("timed out"))
    with pytest.raises(UnreachableError, match="timed out"):
        client.list_namespaces()
    assert len(server.requests) == 1


def test_the_time_out_is_sent_with_each_request(transport: httpx.MockTransport, server: Server) -> None:
    server.answers(httpx.Response(200, json={"namespaces": []}))
    OrchestrationClient(URL, timeout_seconds=2.5, transport=transport).list_namespaces()
    assert set(server.last.extensions["timeout"].values()) == {2.5}


def test_a_retried_create_has_one_idempotency_key_and_two_creates_have_two(
    client: OrchestrationClient, server: Server, clock: Clock, task_document: MakeTask
) -> None:
    created = httpx.Response(201, json=task_document())
    server.answers(httpx.ReadError("reset"), created)
    client.create_task("linear_workflow", "mathematical_sequence", {"even_number": 6})
    first, retried = (request.headers["Idempotency-Key"] for request in server.requests)
    client.create_task("linear_workflow", "mathematical_sequence", {"even_number": 6})
    assert first == retried
    assert server.last.headers["Idempotency-Key"] not in (first, "")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, RejectedError),
        (404, NotFoundError),
        (405, ResponseError),
        (409, ConflictError),
        (413, RejectedError),
        (422, RejectedError),
        (500, ServerError),
        (503, UnavailableError),
    ],
)
def test_each_refusal_has_its_error_with_what_the_server_said(
    client: OrchestrationClient, server: Server, status: int, kind: type[ResponseError]
) -> None:
    detail = {"code": "some_code", "message": "some words", "field": "context.even_number", "known": ["a", "b"]}
    server.answers(httpx.Response(status, json={"error": detail}))
    with pytest.raises(ResponseError) as caught:
        client.get_task(TASK_UUID)
    error = caught.value
    assert type(error) is kind
    assert (error.status_code, error.code, error.message) == (status, "some_code", "some words")
    assert (error.field, error.known) == ("context.even_number", ("a", "b"))
    assert str(error) == f"GET {URL}/v1/tasks/{TASK_UUID} answered {status} some_code: some words"


def test_a_refusal_without_field_has_none(client: OrchestrationClient, server: Server) -> None:
    server.answers(httpx.Response(404, json={"error": {"code": "not_found", "message": "no such task"}}))
    with pytest.raises(NotFoundError) as caught:
        client.get_task(TASK_UUID)
    assert (caught.value.field, caught.value.known) == (None, ())


def test_an_error_of_something_in_between_keeps_status_and_text(client: OrchestrationClient, server: Server) -> None:
    server.answers(httpx.Response(502, html="<h1>Bad Gateway</h1>"))
    with pytest.raises(ServerError, match="502 unknown: <h1>Bad Gateway</h1>"):
        client.list_namespaces()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (httpx.Response(200, text="hello"), "not JSON: 'hello'"),
        (httpx.Response(200, json={"namespaces": [{"name": 1, "templates": []}]}), r"namespaces\.0\.name"),
        (httpx.Response(302, headers={"Location": "/login"}, json={}), "answered 302"),
    ],
)
def test_an_answer_outside_the_contract_is_an_error(
    client: OrchestrationClient, server: Server, answer: httpx.Response, message: str
) -> None:
    server.answers(answer)
    with pytest.raises(UnexpectedResponseError, match=message):
        client.list_namespaces()


def test_health_answers_whether_healthy_or_not(
    client: OrchestrationClient, server: Server, health_document: Callable[..., Documents]
) -> None:
    server.answers(httpx.Response(200, json=health_document()))
    assert client.health().healthy
    down = {"database": {"status": "down", "latency_ms": None, "error": "connection refused"}}
    server.answers(httpx.Response(503, json=health_document(status="unhealthy", checks=down)))
    health = client.health()
    assert not health.healthy
    assert health.checks["database"].error == "connection refused"
    server.answers(httpx.Response(503, json={"error": {"code": "unavailable", "message": "no database"}}))
    with pytest.raises(UnavailableError):
        client.health()


@pytest.mark.parametrize("url", ["", "localhost:8080", "ftp://host", "http://", "http://host?x=1", "http://ho st:port"])
def test_a_bad_base_url_is_refused(url: str) -> None:
    with pytest.raises(InvalidInputError):
        OrchestrationClient(url)


@pytest.mark.parametrize("task_id", ["", " ", ".."])
def test_an_id_that_would_be_another_route_is_refused(
    client: OrchestrationClient, server: Server, task_id: str
) -> None:
    with pytest.raises(InvalidInputError, match="task id"):
        client.get_task(task_id)
    assert not server.requests


def test_an_id_stays_one_segment(client: OrchestrationClient, server: Server, task_document: MakeTask) -> None:
    server.answers(httpx.Response(200, json=task_document()))
    client.get_task("a/../b?c")
    assert server.last.url.raw_path == b"/v1/tasks/a%2F..%2Fb%3Fc"


@pytest.mark.parametrize(("host", "proxied"), [("127.83.1.2", False), ("localhost", False), ("tasker.test", True)])
def test_only_loopback_is_asked_past_the_proxy(
    monkeypatch: pytest.MonkeyPatch, server: Server, host: str, proxied: bool
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.test:3128")
    monkeypatch.delenv("http_proxy", raising=False)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    proxies: list[object] = []

    def send(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        proxies.append(type(self._pool).__name__)
        return server(request)

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", send)
    server.answers(httpx.Response(200, json={"namespaces": []}))
    with OrchestrationClient(f"http://{host}:8080") as client:
        client.list_namespaces()
    assert proxies == ["HTTPProxy" if proxied else "ConnectionPool"]
