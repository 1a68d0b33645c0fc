"""The orchestrator as the server and the local command use it."""

import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, aclosing, contextmanager
from typing import Any, Self, cast

from chassis.database import GONE, Pool
from chassis.errors import ApiError, unavailable
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from olav.checkpoints import checkpointer, thread_key
from olav.documents import Documents
from olav.graph.nodes import Steps
from olav.graph.state import FinalEvent, Output, Run, Source, State, TokenEvent
from olav.graph.threads import Turns
from olav.metrics import ORCHESTRATOR_RUNS
from olav.model import Model
from olav.settings import Settings

Graph = CompiledStateGraph[State, Run, State, State]


def build(steps: Steps, saver: BaseCheckpointSaver[Any]) -> Graph:
    """The graph: classify, retrieve, answer; its state is kept by `saver`, per thread."""
    graph = StateGraph(State, context_schema=Run)
    graph.add_node("classify", steps.classify)
    graph.add_node("retrieve", steps.retrieve)
    graph.add_node("answer", steps.answer)
    graph.add_edge(START, "classify")
    graph.add_edge("classify", "retrieve")
    graph.add_edge("retrieve", "answer")
    graph.add_edge("answer", END)
    return graph.compile(checkpointer=saver, name="orchestrator")


class Orchestrator:
    """Opens nothing before `async with`, which is for one event loop and wants `pool` open.

    `checks`: what `/health` asks of it; each raises when its service is down.
    """

    def __init__(self, settings: Settings, pool: Pool) -> None:
        self._settings = settings
        self._pool = pool
        self._open = AsyncExitStack()
        self._graph: Graph | None = None
        self._model: Model | None = None
        self._documents: Documents | None = None
        self._turns: Turns | None = None
        self.checks: dict[str, Callable[[], Awaitable[None]]] = {}
        if settings.opensearch_url:
            self.checks["opensearch"] = self._ping_documents
        if settings.llm_base_url:
            self.checks["llm"] = self._ping_model

    async def __aenter__(self) -> Self:
        self._model = await self._open.enter_async_context(Model(self._settings))
        if self._settings.opensearch_url:
            self._documents = await self._open.enter_async_context(Documents(self._settings.opensearch_url))
        self._turns = await self._open.enter_async_context(Turns(self._pool))
        self._graph = build(Steps(self._model, self._documents), checkpointer(self._pool))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._graph = self._turns = None
        await self._open.aclose()

    async def ask(self, username: str, question: str, thread_id: str | None = None) -> Output:
        """The answer, and one more turn of the user's thread (a new one without an id).

        Raises ApiError: 502 `model_failed`, 503 for what cannot be reached, 409 `thread_busy`.
        """
        thread_id = thread_id or str(uuid.uuid4())
        key = thread_key(username, thread_id)
        graph, turns = self._running
        with _counted():
            async with turns.turn(key):
                state = await graph.ainvoke(
                    {"question": question}, _config(key), context=Run(streaming=False), durability="exit"
                )
        return _output(state, thread_id)

    async def stream(
        self, username: str, question: str, thread_id: str | None = None
    ) -> AsyncGenerator[TokenEvent | FinalEvent, None]:
        """The answer's tokens as the model says them, then the output. Raises as `ask` does."""
        thread_id = thread_id or str(uuid.uuid4())
        key = thread_key(username, thread_id)
        graph, turns = self._running
        state: State = {}
        with _counted():
            async with turns.turn(key):
                steps = graph.astream(
                    {"question": question},
                    _config(key),
                    context=Run(streaming=True),
                    durability="exit",
                    stream_mode=["custom", "values"],
                )
                async with aclosing(cast("AsyncGenerator[tuple[str, object], None]", steps)) as events:
                    async for mode, event in events:
                        if mode == "custom":
                            yield cast("TokenEvent", event)
                        else:
                            state = cast("State", event)
        # After the turn is stored: who reads this may ask the next question.
        yield FinalEvent(type="final", output=_output(state, thread_id).model_dump())

    @property
    def _running(self) -> tuple[Graph, Turns]:
        if self._graph is None or self._turns is None:
            raise RuntimeError("the orchestrator is used outside of `async with`")
        return self._graph, self._turns

    async def _ping_documents(self) -> None:
        assert self._documents is not None  # noqa: S101  checked from within `async with`
        await self._documents.ping()

    async def _ping_model(self) -> None:
        assert self._model is not None  # noqa: S101  checked from within `async with`
        await self._model.ping()


def _config(key: str) -> RunnableConfig:
    # Every key of LangGraph's own is given: what a caller sends along never chooses another checkpoint.
    return {"configurable": {"thread_id": key, "checkpoint_ns": "", "checkpoint_id": None}}


def _output(state: Any, thread_id: str) -> Output:
    return Output(
        answer=state["answer"],
        category=state["category"],
        documents=[Source(id=item["id"], title=item["title"], score=item["score"]) for item in state["documents"]],
        thread_id=thread_id,
        turn=state["turn"],
    )


@contextmanager
def _counted() -> Iterator[None]:
    """Count the run by its outcome; a database that is gone is a 503 as any other service."""
    outcome = "aborted"
    try:
        yield
        outcome = "answered"
    except ApiError as error:
        outcome = error.code
        raise
    except GONE as error:
        outcome = "postgres_unavailable"
        raise unavailable("postgres") from error
    except Exception:
        outcome = "internal"
        raise
    finally:
        ORCHESTRATOR_RUNS.labels(outcome).inc()
