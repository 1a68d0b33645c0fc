"""Retries, time-outs, and answers turned into models or errors."""

import time
from collections.abc import Callable

import httpx
import pytest
from chassis.client import (
    Client,
    ConflictError,
    Document,
    InvalidInputError,
    NotFoundError,
    RejectedError,
    ResponseError,
    ServerError,
    UnavailableError,
    UnexpectedResponseError,
    UnreachableError,
    segment,
)
from pydantic import SecretStr

URL = "http://shop.test:8080"
Answer = httpx.Response | Exception


class Item(Document):
    name: str


class Server:
    """Answers in the order in which answers were given, the last one again and again; keeps the requests."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self.queue: list[Answer] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.queue.pop(0) if len(self.queue) > 1 else self.queue[0]
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def client(server: Server) -> Client:
    return Client(URL + "/", retries=3, transport=httpx.MockTransport(server))


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Which pauses were made; they take no time."""
    made: list[float] = []
    monkeypatch.setattr(time, "sleep", made.append)
    return made


FOUND = httpx.Response(200, json={"name": "nut", "field_of_a_newer_server": 1})


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
    client: Client, server: Server, pauses: list[float], failure: httpx.TransportError
) -> None:
    server.queue = [failure, failure, FOUND]
    assert client.call(Item, "GET", "/item").name == "nut"
    assert pauses == [0.1, 0.2]


def test_after_the_last_try_the_error_names_address_reason_and_tries(
    client: Client, server: Server, pauses: list[float]
) -> None:
    server.queue = [httpx.ConnectError("connection refused")]
    with pytest.raises(UnreachableError, match=rf"^no answer from {URL}/item after 4 tries: connection refused$"):
        client.call(Item, "GET", "/item")
    assert (len(server.requests), len(pauses)) == (4, 3)


def test_a_slow_answer_is_not_asked_for_again(client: Client, server: Server) -> None:
    server.queue = [httpx.ReadTimeout("timed out")]
    with pytest.raises(UnreachableError, match="timed out"):
        client.call(Item, "GET", "/item")
    assert len(server.requests) == 1


def test_time_out_and_token_are_sent_with_each_request(server: Server) -> None:
    server.queue = [FOUND]
    transport = httpx.MockTransport(server)
    Client(URL, timeout_seconds=2.5, token=SecretStr("t0"), transport=transport).call(Item, "GET", "/item")
    (request,) = server.requests
    assert set(request.extensions["timeout"].values()) == {2.5}
    assert request.headers["authorization"] == "Bearer t0"


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
    client: Client, server: Server, status: int, kind: type[ResponseError]
) -> None:
    detail = {"code": "some_code", "message": "some words", "field": "name", "known": ["a"], "request_id": "r-1"}
    server.queue = [httpx.Response(status, json={"error": detail})]
    with pytest.raises(ResponseError) as caught:
        client.call(Item, "GET", "/item")
    error = caught.value
    assert type(error) is kind
    assert (error.status_code, error.code, error.message) == (status, "some_code", "some words")
    assert (error.field, error.known, error.request_id) == ("name", ("a",), "r-1")
    trace = " (request r-1)" if status >= 500 else ""
    assert str(error) == f"GET {URL}/item answered {status} some_code: some words{trace}"


def test_an_error_of_something_in_between_keeps_status_and_text(client: Client, server: Server) -> None:
    server.queue = [httpx.Response(502, html="<h1>Bad Gateway</h1>")]
    with pytest.raises(ServerError, match="502 unknown: <h1>Bad Gateway</h1>") as caught:
        client.call(Item, "GET", "/item")
    assert (caught.value.field, caught.value.known) == (None, ())


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (httpx.Response(200, text="hello"), "not JSON: 'hello'"),
        (httpx.Response(200, json={"name": 1}), "answered a Item that is not in the contract: name: "),
        (httpx.Response(302, headers={"Location": "/login"}, json={}), "answered 302"),
    ],
)
def test_an_answer_outside_the_contract_is_an_error(
    client: Client, server: Server, answer: httpx.Response, message: str
) -> None:
    server.queue = [answer]
    with pytest.raises(UnexpectedResponseError, match=message):
        client.call(Item, "GET", "/item")


def test_a_status_that_is_accepted_answers_unless_it_is_an_error(client: Client, server: Server) -> None:
    server.queue = [httpx.Response(503, json={"name": "ill"})]
    assert client.call(Item, "GET", "/health", accepted=(503,)).name == "ill"
    server.queue = [httpx.Response(503, json={"error": {"code": "unavailable", "message": "no database"}})]
    with pytest.raises(UnavailableError):
        client.call(Item, "GET", "/health", accepted=(503,))


def test_what_is_answered_with_nothing_and_what_is_streamed(client: Client, server: Server) -> None:
    server.queue = [httpx.Response(204)]
    client.tell("POST", "/logout")
    server.queue = [httpx.Response(200, text="one\ntwo\n")]
    with client.streamed("POST", "/stream", body={}) as response:
        assert list(response.iter_lines()) == ["one", "two"]
    refused = httpx.Response(409, json={"error": {"code": "busy", "message": "later"}})
    server.queue = [refused]
    with pytest.raises(ConflictError, match="busy"):
        client.tell("POST", "/logout")
    with pytest.raises(ConflictError, match="busy"), client.streamed("POST", "/stream"):
        pass
    server.queue = [httpx.ConnectError("refused")]
    with pytest.raises(UnreachableError, match="refused"), client.streamed("POST", "/stream"):
        pass


@pytest.mark.parametrize("url", ["", "localhost:8080", "ftp://host", "http://", "http://host?x=1", "http://ho st:port"])
def test_a_bad_base_url_is_refused(url: str) -> None:
    with pytest.raises(InvalidInputError):
        Client(url)


def test_an_id_is_one_segment_or_is_refused() -> None:
    assert segment("item", "a/../b?c") == "a%2F..%2Fb%3Fc"
    for bad in ("", " ", ".."):
        with pytest.raises(InvalidInputError, match="item"):
            segment("item", bad)


@pytest.mark.parametrize(("host", "proxied"), [("127.83.1.2", False), ("localhost", False), ("shop.test", True)])
def test_only_loopback_is_asked_past_the_proxy(
    monkeypatch: pytest.MonkeyPatch, server: Server, host: str, proxied: bool
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.test:3128")
    for name in ("http_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    proxies: list[object] = []
    answer: Callable[[httpx.Request], httpx.Response] = server

    def send(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        proxies.append(type(self._pool).__name__)
        return answer(request)

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", send)
    server.queue = [FOUND]
    with Client(f"http://{host}:8080") as client:
        client.call(Item, "GET", "/item")
    assert proxies == ["HTTPProxy" if proxied else "ConnectionPool"]
