"""The routes over a scripted orchestrator: LangServe's shapes, our errors, whose thread it is."""

import asyncio
import json
import threading
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from chassis.app import Api
from chassis.errors import ApiError, unavailable
from chassis.settings import ServiceSettings
from chassis.testing import keeps_its_word
from doubles.model_server import serving
from fastapi import Request
from langserve import RemoteRunnable
from olav.graph import routes
from olav.graph.routes import add_routes
from olav.graph.state import FinalEvent, Output, TokenEvent

PIECES = ["one", " two", " three"]


def output(question: str, thread_id: str | None) -> Output:
    return Output(answer=question.upper(), category="search", documents=[], thread_id=thread_id or "new", turn=1)


class Scripted:
    """Answers with the question in capitals; `failure` comes after `said` pieces. `asked`: who, what, which thread."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str | None]] = []
        self.failure: Exception | None = None
        self.said = 0
        self.running = 0
        self.most = 0
        self.closed = threading.Event()

    async def ask(self, username: str, question: str, thread_id: str | None = None) -> Output:
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0.02)
        self.running -= 1
        self.asked.append((username, question, thread_id))
        if self.failure is not None:
            raise self.failure
        return output(question, thread_id)

    async def stream(
        self, username: str, question: str, thread_id: str | None = None
    ) -> AsyncGenerator[TokenEvent | FinalEvent, None]:
        self.asked.append((username, question, thread_id))
        try:
            for number, piece in enumerate(PIECES):
                if self.failure is not None and number == self.said:
                    raise self.failure
                yield TokenEvent(type="token", content=piece)
            if question == "forever":
                while True:
                    yield TokenEvent(type="token", content=".")
                    await asyncio.sleep(0.01)
        finally:
            self.closed.set()
        yield FinalEvent(type="final", output=output(question, thread_id).model_dump())


@dataclass(frozen=True)
class User:
    username: str


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[dict[str, Scripted], str]]:
    """The scripted orchestrator can be changed; the routes stay."""
    current: dict[str, Scripted] = {}

    class Delegate:
        def __getattr__(self, name: str) -> Any:
            return getattr(current["it"], name)

    async def authorize(request: Request) -> None:
        name = request.headers.get("x-user")
        if name is None:
            raise ApiError(401, "unauthorized", "who?")
        request.state.user = User(name)

    app = Api("olav", "1", ServiceSettings(), prefix="routes")
    add_routes(app, Delegate(), authorize=authorize)  # type: ignore[arg-type]
    with serving(app) as url:
        yield current, url


@pytest.fixture
def script(served: tuple[dict[str, Scripted], str]) -> Scripted:
    served[0]["it"] = Scripted()
    return served[0]["it"]


@pytest.fixture
def client(served: tuple[dict[str, Scripted], str]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{served[1]}/orchestrator", headers={"x-user": "olga"}, timeout=10) as client:
        yield client


def events(response: httpx.Response) -> list[tuple[str, Any]]:
    assert response.headers["content-type"].startswith("text/event-stream")
    found = []
    for block in response.text.replace("\r\n", "\n").strip().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line)
        found.append((lines["event"], json.loads(lines["data"]) if "data" in lines else None))
    return found


def test_invoke_answers_for_the_user_and_the_thread(script: Scripted, client: httpx.Client) -> None:
    answer = client.post(
        "/invoke",
        json={
            "input": {"question": "why"},
            # What clients of LangChain send along, and what somebody might try.
            "config": {
                "configurable": {"thread_id": "t-1", "__olav_username": "eve", "checkpoint_id": "x"},
                "tags": ["a"],
                "metadata": {"b": 1},
                "recursion_limit": 5,
            },
            "kwargs": {},
        },
    )
    assert answer.status_code == 200
    assert answer.json()["output"] == output("why", "t-1").model_dump()
    assert set(answer.json()) == {"output", "metadata"}
    assert script.asked == [("olga", "why", "t-1")]


def test_a_stream_is_metadata_tokens_the_output_and_an_end(script: Scripted, client: httpx.Client) -> None:
    got = events(client.post("/stream", json={"input": {"question": "why"}}))
    assert [kind for kind, _ in got] == ["metadata", "data", "data", "data", "data", "end"]
    assert [data for _, data in got[1:4]] == [{"type": "token", "content": piece} for piece in PIECES]
    assert got[4][1] == {"type": "final", "output": output("why", None).model_dump()}
    assert script.asked == [("olga", "why", None)]


def test_stream_log_tells_of_the_run_in_patches(script: Scripted, client: httpx.Client) -> None:
    got = events(client.post("/stream_log", json={"input": {"question": "why"}}))
    assert got[-1] == ("end", None)
    patches = [operation for kind, data in got if kind == "data" for operation in data["ops"]]
    streamed = [patch["value"] for patch in patches if patch["path"] == "/streamed_output/-"]
    assert [event["content"] for event in streamed if event["type"] == "token"] == PIECES


@pytest.mark.parametrize("path", ["/stream", "/stream_log"])
@pytest.mark.parametrize("said", [0, 2])
@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (unavailable("opensearch"), (503, "opensearch_unavailable", "opensearch cannot be reached, try again")),
        (KeyError("a secret"), (500, "internal", "internal error; the service's log has it under this request id")),
    ],
)
def test_a_stream_that_fails_ends_with_its_error(
    script: Scripted, client: httpx.Client, path: str, said: int, failure: Exception, told: tuple[int, str, str]
) -> None:
    script.failure, script.said = failure, said
    response = client.post(path, json={"input": {"question": "why"}})
    got = events(response)
    assert got[-1] == ("error", dict(zip(("status_code", "code", "message"), told, strict=True)))
    assert [kind for kind, _ in got].count("error") == 1
    assert "secret" not in response.text
    assert "Traceback" not in response.text


@pytest.mark.parametrize("path", ["/invoke", "/batch"])
def test_what_fails_at_once_has_the_status(script: Scripted, client: httpx.Client, path: str) -> None:
    script.failure = unavailable("opensearch")
    body = {"input": {"question": "why"}} if path == "/invoke" else {"inputs": [{"question": "why"}] * 3}
    answer = client.post(path, json=body)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["error"]["code"] == "opensearch_unavailable"


def test_a_client_that_goes_away_ends_the_run(
    script: Scripted, client: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    with client.stream("POST", "/stream", json={"input": {"question": "forever"}}) as response:
        for line in response.iter_lines():
            if "three" in line:
                assert not script.closed.is_set()
                break
    assert script.closed.wait(5), "the run went on for nobody"
    assert client.get("/input_schema").status_code == 200
    assert not [record for record in caplog.records if record.name != "httpx"]


async def test_a_stream_that_is_closed_closes_what_is_beneath() -> None:
    closed = []

    async def langserves() -> AsyncGenerator[dict[str, str], None]:
        try:
            while True:
                yield {"event": "data"}
        except BaseException:
            yield {"event": "error"}
            closed.append(True)
            raise

    events = routes._told(langserves())
    assert await anext(events) == {"event": "data"}
    await events.aclose()
    assert closed


def test_a_batch_is_answered_in_order_and_not_all_at_once(script: Scripted, client: httpx.Client) -> None:
    questions = [f"q{number}" for number in range(12)]
    answer = client.post("/batch", json={"inputs": [{"question": question} for question in questions]})
    assert [one["answer"] for one in answer.json()["output"]] == [question.upper() for question in questions]
    assert script.most == 4


def test_questions_of_one_thread_in_a_batch_come_one_after_the_other(script: Scripted, client: httpx.Client) -> None:
    questions = [f"q{number}" for number in range(6)]
    body: dict[str, Any] = {
        "inputs": [{"question": question} for question in questions],
        "config": {"configurable": {"thread_id": "t"}},
    }
    assert client.post("/batch", json=body).status_code == 200
    assert script.asked == [("olga", question, "t") for question in questions]
    assert script.most == 1
    body["config"] = [{"configurable": {"thread_id": f"t{number % 2}"}} for number in range(6)]
    assert client.post("/batch", json=body).status_code == 200
    assert script.most == 2


MALFORMED: list[tuple[str, Any, str]] = [
    ("invoke", {}, "input"),
    ("invoke", {"input": {}}, "input.question"),
    ("invoke", {"input": "why"}, "input"),
    ("invoke", {"input": {"question": 5}}, "input.question"),
    ("invoke", {"input": {"question": ""}}, "input.question"),
    ("invoke", {"input": {"question": " \n"}}, "input.question"),
    ("invoke", {"input": {"question": "x" * 4001}}, "input.question"),
    ("invoke", {"input": {"question": "a\0b"}}, "input.question"),
    ("invoke", {"input": {"question": "why", "role": "admin"}}, "input.role"),
    ("stream", {"input": {"question": None}}, "input.question"),
    ("stream", {"input": {"question": "why"}, "config": []}, "config"),
    ("stream", {"input": {"question": "why"}, "config": {"configurable": {"thread_id": "a/b"}}},
     "config.configurable.thread_id"),
    ("stream_log", {"input": {"question": "why"}, "include_names": "all"}, "include_names"),
    ("invoke", {"input": {"question": "why"}, "config": {"configurable": {"thread_id": ""}}},
     "config.configurable.thread_id"),
    ("invoke", {"input": {"question": "why"}, "config": {"metadata": 5}}, "config.metadata"),
    ("invoke", {"input": {"question": "why"}, "kwargs": {"stop": "x"}}, "kwargs.stop"),
    ("batch", {"inputs": {"question": "why"}}, "inputs"),
    ("batch", {"inputs": [{"question": "why"}, {}]}, "inputs.1.question"),
    ("batch", {"inputs": [{"question": "why"}] * 65}, "inputs"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body", "field"), MALFORMED)
def test_what_is_malformed_is_refused_with_the_field_to_blame(
    script: Scripted, client: httpx.Client, path: str, body: Any, field: str
) -> None:
    answer = client.post(f"/{path}", json=body)
    assert answer.status_code == 422
    error = answer.json()["error"]
    assert (error["code"], error["field"]) == ("invalid_request", field)
    assert error["message"].startswith(f"{field}: ")
    assert script.asked == []


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"input":{"question":"\\ud800"}}', b"null"]
)
@pytest.mark.parametrize("path", ["invoke", "batch", "stream", "stream_log"])
def test_what_is_no_json_is_refused_too(script: Scripted, client: httpx.Client, path: str, content: bytes) -> None:
    answer = client.post(f"/{path}", content=content)
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, "body")


@pytest.mark.parametrize("path", ["invoke", "batch", "stream", "stream_log"])
def test_who_may_not_is_told_so_before_the_body_is_looked_at(script: Scripted, client: httpx.Client, path: str) -> None:
    del client.headers["x-user"]
    assert client.post(f"/{path}", content=b"{").status_code == 401
    assert client.get("/input_schema").status_code == 401


def test_schemas_say_what_goes_in_and_comes_out(script: Scripted, client: httpx.Client) -> None:
    question = client.get("/input_schema").json()["properties"]["question"]
    assert (question["minLength"], question["maxLength"]) == (1, 4000)
    assert set(client.get("/output_schema").json()["properties"]) == set(Output.model_fields)
    assert "thread_id" in client.get("/config_schema").text


@pytest.mark.parametrize("path", ["stream_events", "feedback", "token_feedback", "public_trace_link", "c/x/invoke"])
def test_what_langserve_has_besides_is_off(script: Scripted, client: httpx.Client, path: str) -> None:
    assert client.post(f"/{path}", json={}).status_code == 404
    assert client.get("/playground/").status_code == 404


async def test_langserves_own_client_works(script: Scripted, client: httpx.Client) -> None:
    remote: Any = RemoteRunnable(str(client.base_url), headers={"x-user": "olga"})
    config: Any = {"configurable": {"thread_id": "t"}, "tags": ["x"]}
    assert remote.invoke({"question": "why"}, config) == output("why", "t").model_dump()
    assert await remote.ainvoke({"question": "why"}) == output("why", None).model_dump()
    # In this event loop: its own way of closing takes another one, which leaves the connection open.
    await remote.async_client.aclose()
    assert [one["answer"] for one in remote.batch([{"question": "a"}, {"question": "b"}])] == ["A", "B"]
    chunks = list(remote.stream({"question": "why"}, config))
    assert [chunk["content"] for chunk in chunks[:-1]] == PIECES
    assert chunks[-1] == {"type": "final", "output": output("why", "t").model_dump()}
    script.failure = unavailable("opensearch")
    with pytest.raises(httpx.HTTPStatusError, match="opensearch cannot be reached") as caught:
        list(remote.stream({"question": "why"}))
    assert caught.value.response.status_code == 503


def test_a_batch_has_as_many_configs_as_inputs(script: Scripted, client: httpx.Client) -> None:
    answer = client.post("/batch", json={"inputs": [{"question": "why"}], "config": [{}, {}]})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "config_mismatch")
    assert script.asked == []


@pytest.mark.timeout(300)
def test_their_document_is_true(script: Scripted, client: httpx.Client) -> None:
    keeps_its_word(str(client.base_url).removesuffix("/orchestrator/"), headers={"x-user": "olga"})
