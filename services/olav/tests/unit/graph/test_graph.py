"""The graph with a checkpointer in memory: its steps, what it remembers, and what a failure leaves."""

from collections.abc import Sequence
from typing import Any

import pytest
from chassis.errors import ApiError, unavailable
from doubles.model_server import Fault, ModelServer
from langgraph.checkpoint.memory import InMemorySaver
from olav.documents import Documents, Found, shipped
from olav.graph.nodes import CATEGORIES, Steps
from olav.graph.orchestrator import Graph, build
from olav.graph.state import Run
from olav.model import Model, ModelError
from olav.settings import Settings
from typing_extensions import override


class Shelf(Documents):
    """Always the same document; remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Sequence[float], str]] = []
        self.down = False

    @override
    async def search(self, question: str, vector: Sequence[float], *, category: str, limit: int = 4) -> list[Found]:
        if self.down:
            raise unavailable("opensearch")
        self.asked.append((question, vector, category))
        return [Found(id="heap", title="The heap", text="Half of the memory.", score=1.0)]


async def asked(graph: Graph, question: str, thread: str = "t") -> dict[str, Any]:
    config: Any = {"configurable": {"thread_id": thread}}
    return await graph.ainvoke({"question": question}, config, context=Run(streaming=False), durability="exit")


async def test_each_step_gives_its_part(settings: Settings, model: ModelServer) -> None:
    shelf = Shelf()
    async with Model(settings) as client:
        state = await asked(build(Steps(client, shelf), InMemorySaver()), "Why so slow?")
    assert state == {
        "question": "Why so slow?",
        "category": "search",
        "documents": [{"id": "heap", "title": "The heap", "text": "Half of the memory.", "score": 1.0}],
        "answer": "The heap is too large.",
        "turn": 1,
        "history": [{"question": "Why so slow?", "answer": "The heap is too large."}],
    }
    assert shelf.asked == [("Why so slow?", [1.0, 0.0], "search")]
    prompt = model.chats()[-1]["messages"]
    assert "The heap: Half of the memory." in prompt[0]["content"]
    assert [message["role"] for message in prompt] == ["system", "user"]


@pytest.mark.parametrize(
    ("said", "category"),
    [
        ("database", "database"),
        (" Security.\n", "security"),
        ("`model`", "model"),
        ("no idea", "general"),
        ("", "general"),
    ],
)
async def test_a_label_is_taken_or_it_is_general(
    settings: Settings, model: ModelServer, said: str, category: str
) -> None:
    model.label = said
    async with Model(settings) as client:
        state = await asked(build(Steps(client, Shelf()), InMemorySaver()), "What?")
    assert state["category"] == category


async def test_a_thread_remembers_and_forgets_the_oldest(settings: Settings, model: ModelServer) -> None:
    saver = InMemorySaver()
    async with Model(settings) as client:
        for number in range(25):
            # A new graph each time: all that is remembered is in the checkpoint.
            state = await asked(build(Steps(client, Shelf()), saver), f"question {number}")
        other = await asked(build(Steps(client, Shelf()), saver), "hello", thread="another")
    assert state["turn"] == 25
    assert [turn["question"] for turn in state["history"]] == [f"question {number}" for number in range(5, 25)]
    assert other["turn"] == 1
    shown = [message["content"] for message in model.chats()[-3]["messages"] if message["role"] == "user"]
    assert shown == [f"question {number}" for number in range(14, 25)]


@pytest.mark.parametrize("where", ["classify", "retrieve", "answer"])
async def test_a_turn_that_failed_is_no_turn(settings: Settings, model: ModelServer, where: str) -> None:
    shelf, saver = Shelf(), InMemorySaver()
    async with Model(settings) as client:
        graph = build(Steps(client, shelf), saver)
        await asked(graph, "first")
        shelf.down = where == "retrieve"
        refused = Fault(status=401)
        faults: dict[str, list[Fault | None]] = {"classify": [refused], "retrieve": [], "answer": [None, refused]}
        model.faults = faults[where]
        with pytest.raises(ApiError) as caught:
            await asked(graph, "lost")
        assert caught.value.code == ("opensearch_unavailable" if where == "retrieve" else "model_failed")
        shelf.down = False
        state = await asked(graph, "second")
    assert [turn["question"] for turn in state["history"]] == ["first", "second"]
    assert (state["turn"], state["question"]) == (2, "second")


async def test_tokens_leave_in_order_and_only_when_asked_for(settings: Settings, model: ModelServer) -> None:
    async with Model(settings) as client:
        graph = build(Steps(client, Shelf()), InMemorySaver())
        config: Any = {"configurable": {"thread_id": "t"}}
        told = [
            event
            async for event in graph.astream(
                {"question": "Why?"}, config, context=Run(streaming=True), stream_mode="custom"
            )
        ]
        await asked(graph, "again")
    assert told == [{"type": "token", "content": piece} for piece in model.pieces]
    assert [bool(body.get("stream")) for body in model.chats()] == [False, True, False, False]


async def test_without_documents_the_model_is_not_even_asked(settings: Settings, model: ModelServer) -> None:
    async with Model(settings) as client:
        with pytest.raises(ApiError) as caught:
            await asked(build(Steps(client, None), InMemorySaver()), "Why?")
    assert (caught.value.status_code, caught.value.code) == (503, "opensearch_not_configured")
    assert model.asked == []


async def test_an_answer_without_end_is_cut(
    settings: Settings, model: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("olav.graph.nodes._LONGEST_ANSWER", 0.2)
    model.faults = [None, Fault(silent_seconds=2.0)]
    async with Model(settings) as client:
        with pytest.raises(ModelError, match=r"longer than 0\.2 s"):
            await asked(build(Steps(client, Shelf()), InMemorySaver()), "Why?")


def test_every_shipped_document_is_of_a_category_that_questions_are_sorted_into() -> None:
    documents = shipped()
    assert len({document.id for document in documents}) == len(documents) >= 20
    assert {document.category for document in documents} == set(CATEGORIES) - {"general"}
