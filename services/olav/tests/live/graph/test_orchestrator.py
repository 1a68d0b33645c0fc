"""The orchestrator on real PostgreSQL and real OpenSearch, its model behind real HTTP."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Any

import psycopg
import pytest
from chassis.errors import ApiError
from doubles.model_server import Fault, ModelServer
from olav.database import database
from olav.documents import Document, Documents, load, prepare
from olav.graph.orchestrator import Orchestrator
from olav.graph.threads import Turns
from olav.init import program
from olav.settings import InitSettings
from prometheus_client import REGISTRY


@asynccontextmanager
async def worker(settings: InitSettings) -> AsyncIterator[Orchestrator]:
    """What one worker of the server has."""
    async with (
        database(settings, application="olav-test", max_connections=5) as opened,
        Orchestrator(settings, opened.pool) as orchestrator,
    ):
        yield orchestrator


@pytest.fixture
async def prepared(settings: InitSettings) -> InitSettings:
    await program.run(settings)
    return settings


def runs(outcome: str) -> float:
    return REGISTRY.get_sample_value("olav_orchestrator_runs_total", {"outcome": outcome}) or 0.0


async def test_a_thread_goes_on_in_another_worker_and_after_a_restart(
    prepared: InitSettings, model: ModelServer
) -> None:
    answered = runs("answered")
    async with worker(prepared) as one, worker(prepared) as two:
        first = await one.ask("olga", "Why does OpenSearch run out of memory?", "t")
        second = await two.ask("olga", "And then?", "t")
    async with worker(prepared) as restarted:
        third = await restarted.ask("olga", "And now?", "t")
    assert (first.turn, second.turn, third.turn) == (1, 2, 3)
    assert first.category == "search"
    assert "opensearch-memory" in {document.id for document in first.documents}
    said = [message["content"] for message in model.chats()[-1]["messages"] if message["role"] == "user"]
    assert said == ["Why does OpenSearch run out of memory?", "And then?", "And now?"]
    assert runs("answered") == answered + 3


async def test_nobody_reads_the_thread_of_another(prepared: InitSettings, model: ModelServer) -> None:
    async with worker(prepared) as one:
        await one.ask("olga", "my secret", "t")
        other = await one.ask("oleg", "What was asked?", "t")
        own = await one.ask("olga", "again", "t")
    assert (other.turn, own.turn) == (1, 2)
    assert "my secret" not in str(model.chats()[3]["messages"])


async def test_turns_of_one_thread_take_place_one_after_the_other(prepared: InitSettings) -> None:
    async with worker(prepared) as one, worker(prepared) as two:
        outputs = await asyncio.gather(
            *(side.ask("olga", f"question {number}", "t") for number in range(5) for side in (one, two))
        )
    assert sorted(output.turn for output in outputs) == list(range(1, 11))


async def test_a_busy_thread_is_a_409_and_free_again_after(prepared: InitSettings) -> None:
    async with AsyncExitStack() as stack:
        turns = []
        for _ in range(2):
            opened = database(prepared, application="olav-test", max_connections=2)
            await stack.enter_async_context(opened)
            turns.append(await stack.enter_async_context(Turns(opened.pool, patience_seconds=0.2)))
        async with turns[0].turn("t"):
            for side in turns:
                with pytest.raises(ApiError) as caught:
                    await stack_turn(side, "t")
                assert (caught.value.status_code, caught.value.code) == (409, "thread_busy")
            await stack_turn(turns[1], "another")
        await stack_turn(turns[1], "t")


async def stack_turn(turns: Turns, thread: str) -> None:
    async with turns.turn(thread):
        pass


async def test_a_stream_is_the_models_tokens_and_then_the_output(prepared: InitSettings, model: ModelServer) -> None:
    async with worker(prepared) as one:
        events: list[Any] = [event async for event in one.stream("olga", "Why?", "t")]
        next_turn = await one.ask("olga", "And?", "t")
    assert events[:-1] == [{"type": "token", "content": piece} for piece in model.pieces]
    output = events[-1]["output"]
    assert (events[-1]["type"], output["answer"], output["turn"]) == ("final", "".join(model.pieces), 1)
    assert next_turn.turn == 2


async def test_a_run_that_is_abandoned_leaves_the_thread_free_and_as_it_was(
    prepared: InitSettings, model: ModelServer
) -> None:
    async with worker(prepared) as one, worker(prepared) as two:
        await one.ask("olga", "first", "t")
        async with aclosing(one.stream("olga", "abandoned", "t")) as events:
            async for _ in events:
                break
        model.gate = threading.Event()
        running = asyncio.create_task(one.ask("olga", "cancelled", "t"))
        async with asyncio.timeout(5):
            while "cancelled" not in str(model.asked[-1]):
                await asyncio.sleep(0.01)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        model.gate.set()
        assert (await two.ask("olga", "second", "t")).turn == 2


async def test_what_fails_is_named_and_is_no_turn(prepared: InitSettings, model: ModelServer) -> None:
    away = prepared.model_copy(update={"opensearch_url": "http://127.0.0.1:1"})
    none = prepared.model_copy(update={"opensearch_url": None})
    async with worker(prepared) as one, worker(away) as without, worker(none) as unconfigured:
        await one.ask("olga", "first", "t")
        with pytest.raises(ApiError) as caught:
            await without.ask("olga", "lost", "t")
        assert (caught.value.status_code, caught.value.code) == (503, "opensearch_unavailable")
        with pytest.raises(ApiError) as caught:
            await unconfigured.ask("olga", "lost", "t")
        assert (caught.value.status_code, caught.value.code) == (503, "opensearch_not_configured")
        model.failing = Fault(status=401)
        failed = runs("model_failed")
        with pytest.raises(ApiError) as caught:
            [event async for event in one.stream("olga", "lost", "t")]
        assert (caught.value.status_code, caught.value.code) == (502, "model_failed")
        assert runs("model_failed") == failed + 1
        model.failing = None
        assert (await one.ask("olga", "second", "t")).turn == 2


async def test_a_database_that_went_away_is_a_503_and_comes_back(prepared: InitSettings, database_url: str) -> None:
    name = database_url.rsplit("/", 1)[-1]
    async with worker(prepared) as one:
        await one.ask("olga", "first", "t")
        with psycopg.connect(database_url.removesuffix(name) + "postgres", autocommit=True) as admin:
            admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
            admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
            with pytest.raises(ApiError) as caught:
                await one.ask("olga", "lost", "t")
            assert (caught.value.status_code, caught.value.code) == (503, "postgres_unavailable")
            admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
        async with asyncio.timeout(20):
            while True:
                try:
                    answer = await one.ask("olga", "second", "t")
                    break
                except ApiError as error:
                    if error.code != "postgres_unavailable":
                        raise
        assert answer.turn == 2


async def test_connections_that_were_lost_cost_no_answer(prepared: InitSettings, database_url: str) -> None:
    async with worker(prepared) as one:
        await one.ask("olga", "first", "t")
        with psycopg.connect(database_url, autocommit=True) as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        assert (await one.ask("olga", "second", "t")).turn == 2


async def test_checks_are_of_what_is_configured_and_tell_the_truth(prepared: InitSettings) -> None:
    async with worker(prepared) as one:
        assert set(one.checks) == {"opensearch", "llm"}
        for check in one.checks.values():
            await check()
    nowhere = {"opensearch_url": "http://127.0.0.1:1", "llm_base_url": "http://127.0.0.1:1/v1"}
    async with worker(prepared.model_copy(update=nowhere)) as one:
        for check in one.checks.values():
            with pytest.raises(Exception, match=r"[Cc]onnect"):
                await check()
    async with worker(prepared.model_copy(update={"opensearch_url": None})) as one:
        assert set(one.checks) == {"llm"}


async def test_search_finds_by_words_by_vectors_and_prefers_the_category(opensearch_url: str) -> None:
    vectors = {"words": [0.0, 1.0], "vector": [1.0, 0.0], "away": [-1.0, 0.0], "other": [0.0, -1.0]}
    documents = [
        Document(id="words", title="Sizing a heap", category="search", text="Memory of the heap."),
        Document(id="other", title="Sizing a heap", category="security", text="Memory of the heap."),
        Document(id="away", title="Nothing alike", category="search", text="No such expression."),
        Document(id="vector", title="Nothing alike", category="search", text="No such expression."),
    ]

    async def embed(texts: Any) -> list[list[float]]:
        return [vectors[document.id] for document in documents]

    async with Documents(opensearch_url) as store:
        await prepare(store.client)
        await load(store.client, documents, embed, model="m")
        # What is there without a vector, or with one of another model, is found by words all the same.
        await store.client.index(
            index="olav-documents",
            id="bare",
            body={"title": "Bare", "category": "search", "text": "zebra"},
            refresh=True,
        )
        by_both = await store.search("heap memory", [2.0, 0.1], category="search")
        secure = await store.search("heap memory", [0.0, 0.0], category="security")
        bare = await store.search("zebra", [1.0, 0.0, 0.0], category="search", limit=1)
    order = [document["id"] for document in by_both]
    assert order[0] == "words"
    assert order.index("vector") < order.index("away")
    assert secure[0]["id"] == "other"
    assert bare[0]["id"] == "bare"


@pytest.mark.parametrize(
    "question",
    [
        " ".join(f"w{number}" for number in range(800)),
        " ".join(["b"] * 2000),
        "".join(chr(0x4E00 + number) for number in range(4000)),
        "x" * 4000,
        "?" * 4000,
        'heap AND (memory OR "',
    ],
)
async def test_no_question_is_too_much_for_the_search(opensearch_url: str, question: str) -> None:
    async def embed(texts: Any) -> list[list[float]]:
        return [[1.0, 0.0]]

    async with Documents(opensearch_url) as store:
        await prepare(store.client)
        await load(store.client, [Document(id="a", title="Heap", category="search", text="b")], embed, model="m")
        found = await store.search(question, [1.0, 0.0], category="search")
    assert [document["id"] for document in found] == ["a"]
