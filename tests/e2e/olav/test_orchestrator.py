"""The orchestrator: what it finds, what it remembers and of whom, each of its routes, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import pytest

if TYPE_CHECKING:
    from ephemera.pytest_plugin.environments import RunningEnvironment

pytestmark = pytest.mark.timeout(60, func_only=True)

Ask = Callable[..., dict[str, Any]]
Stream = Callable[..., list[tuple[str, Any]]]


@pytest.mark.parametrize(
    ("question", "category", "document"),
    [
        ("My port 8000 is taken, what now?", "deployment", "port-in-use"),
        ("Which role may manage users, and who reads?", "security", "roles"),
        ("How often should I back up PostgreSQL with pg_dump?", "database", "database-backup"),
        ("What does the model do after a rate limit?", "model", "rate-limits-of-the-model"),
    ],
)
def test_a_question_is_classified_and_its_documents_reach_the_model(
    operator: httpx.Client, ask: Ask, question: str, category: str, document: str
) -> None:
    output = ask(operator, question)
    assert output["category"] == category
    assert document in [found["id"] for found in output["documents"][:2]]
    assert 0 < output["documents"][0]["score"] <= 1
    assert "From the context:" in output["answer"]


def test_vectors_find_what_words_alone_do_not(
    environment: RunningEnvironment, operator: httpx.Client, ask: Ask
) -> None:
    # A word that no document has, but for most of its trigrams: only the vectors know it.
    misspelt = "argon2idx"
    query = {"query": {"multi_match": {"query": misspelt, "fields": ["title", "text"]}}}
    by_words = environment.http("opensearch").post("/olav-documents/_search", json=query).json()
    assert by_words["hits"]["total"]["value"] == 0
    assert ask(operator, misspelt)["documents"][0]["id"] == "password-storage"


def test_a_thread_remembers_and_others_know_nothing_of_it(operator: httpx.Client, ask: Ask, thread: str) -> None:
    first = "How long does a token live?"
    assert ask(operator, first, thread)["turn"] == 1
    second = ask(operator, "And how are passwords stored?", thread)
    assert second["turn"] == 2
    assert f'Earlier you asked: "{first}"' in second["answer"]
    other = ask(operator, "And how are passwords stored?")
    assert other["turn"] == 1
    assert other["thread_id"] != thread
    assert first not in other["answer"]


def test_a_thread_belongs_to_its_user(people: Mapping[str, httpx.Client], ask: Ask, thread: str) -> None:
    confided = "Is the launch code swordfish?"
    assert ask(people["operator"], confided, thread)["turn"] == 1
    for trick in (thread, f"operator:{thread}", f"operator.{thread}"):
        output = ask(people["admin"], "What was asked before?", trick)
        assert output["turn"] == 1
        assert "swordfish" not in output["answer"]
    configured = {"thread_id": str(uuid4()), "checkpoint_ns": "", "checkpoint_id": "0", "user": "operator"}
    tried = people["admin"].post(
        "/orchestrator/invoke",
        json={"input": {"question": "What was asked before?"}, "config": {"configurable": configured}},
    )
    assert "swordfish" not in tried.text
    assert tried.status_code in (200, 422)


def test_a_thread_goes_on_in_every_worker(
    environment: RunningEnvironment, operator: httpx.Client, ask: Ask, thread: str
) -> None:
    # A connection each: a worker is chosen when one is opened.
    client = environment.http("olav-server", headers={**operator.headers, "Connection": "close"})
    turns = [ask(client, f"Question {number}: what is a session?", thread)["turn"] for number in range(6)]
    assert turns == [1, 2, 3, 4, 5, 6]


def test_several_questions_at_once_get_their_own_answers(operator: httpx.Client, ask: Ask) -> None:
    questions = [f"Question {number}: how are passwords stored?" for number in range(12)]
    with ThreadPoolExecutor(6) as pool:
        outputs = list(pool.map(lambda question: ask(operator, question), questions))
    assert [output["answer"].splitlines()[0] for output in outputs] == [f'Answer to "{each}".' for each in questions]
    assert len({output["thread_id"] for output in outputs}) == len(questions)


def test_batch_answers_each_in_order(operator: httpx.Client) -> None:
    questions = ["How are passwords stored?", "What is a checkpoint?", "How are passwords stored?"]
    body = {"inputs": [{"question": question} for question in questions]}
    answer = operator.post("/orchestrator/batch", json=body)
    assert answer.status_code == 200, answer.text
    outputs = answer.json()["output"]
    assert [question in output["answer"] for question, output in zip(questions, outputs, strict=True)] == [True] * 3
    assert len(set(answer.json()["metadata"]["run_ids"])) == 3


def test_stream_log_tells_the_run_as_patches(operator: httpx.Client, stream: Stream) -> None:
    events = stream(operator, "How are passwords stored?", route="/orchestrator/stream_log")
    assert events[-1][0] == "end"
    patches = [data["ops"] for name, data in events if name == "data"]
    assert patches
    assert "How are passwords stored?" in str(patches)


def test_schemas_say_what_is_asked_and_answered(people: Mapping[str, httpx.Client]) -> None:
    schema = people["viewer"].get("/orchestrator/input_schema").json()
    assert schema["required"] == ["question"]
    assert (schema["properties"]["question"]["maxLength"], schema["additionalProperties"]) == (4000, False)
    answered = people["viewer"].get("/orchestrator/output_schema").json()
    assert {"answer", "category", "documents", "thread_id", "turn"} <= set(str(answered).replace("'", " ").split())


@pytest.mark.parametrize("route", ["invoke", "batch", "stream", "stream_log"])
@pytest.mark.parametrize(
    "wrong", [{}, {"question": ""}, {"question": None}, {"question": "x", "role": "admin"}, {"question": ["x"]}, "x"]
)
def test_every_route_refuses_what_is_no_question(operator: httpx.Client, route: str, wrong: Any) -> None:
    body = {"inputs": [{"question": "fine"}, wrong]} if route == "batch" else {"input": wrong}
    answer = operator.post(f"/orchestrator/{route}", json=body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["error"]["code"] == "invalid_request"
    assert answer.json()["error"]["field"].startswith("input")


def test_odd_texts_come_through_as_they_are(operator: httpx.Client, ask: Ask, thread: str) -> None:
    for question in ("¿Qué es un token? 令牌 🔑", "'; DROP TABLE users; --", "{{7*7}} ${jndi:x} %s %n", "a\nb\tc"):
        assert ask(operator, question, thread)["turn"] >= 1
    assert "DROP TABLE users" in ask(operator, "What did I ask?", thread)["answer"]


def test_what_cannot_be_stored_or_is_too_large_is_refused(operator: httpx.Client) -> None:
    nul = operator.post("/orchestrator/invoke", json={"input": {"question": "a\x00b"}})
    assert (nul.status_code, nul.json()["error"]["code"]) == (422, "invalid_request")
    large = operator.post("/orchestrator/invoke", json={"input": {"question": "x" * 300_000}})
    assert (large.status_code, large.json()["error"]["code"]) == (413, "too_large")
