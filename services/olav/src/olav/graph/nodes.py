"""The steps of the graph. Each takes the state and gives what it changes of it."""

import asyncio
from contextlib import aclosing

from chassis.errors import ApiError
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langgraph.config import get_stream_writer
from langgraph.runtime import Runtime

from olav.documents import Documents
from olav.graph.state import Passage, Run, State, TokenEvent, Turn
from olav.metrics import ORCHESTRATOR_STEP_SECONDS
from olav.model import Model, ModelError

# What a question may be about, with words that tell; the last one is for all the others.
CATEGORIES = {
    "deployment": "install, start, release, container, port, production",
    "database": "PostgreSQL, connection, checkpoint, backup, pool",
    "search": "OpenSearch, index, vector, document, memory",
    "security": "login, token, role, password, secret",
    "model": "language model, provider, rate limit, streaming",
    "monitoring": "health, metrics, latency, logs, slow",
    "general": "anything else",
}
_CATCH_ALL = "general"

_REMEMBERED = 20  # turns a thread keeps
_SHOWN = 10  # turns the model is shown
_LONGEST_ANSWER = 120.0  # seconds; a model that goes on drop by drop never meets a time-out for silence

_CLASSIFY = "You sort questions of the operators of a platform. Answer with one of:\n" + "\n".join(
    f"- {name}: {words}" for name, words in CATEGORIES.items()
)
_ANSWER = (
    "You help the operators of a platform. Use the passages below and the conversation so far."
    " If they do not say it, say that you do not know.\n\nPassages:\n"
)


class Steps:
    """`documents` is None where no OpenSearch is configured."""

    def __init__(self, model: Model, documents: Documents | None) -> None:
        self._model = model
        self._documents = documents

    async def classify(self, state: State) -> State:
        """Which of CATEGORIES the question belongs to, by the model's word."""
        if self._documents is None:
            # Before the model is paid for an answer that cannot be given.
            raise ApiError(
                503, "opensearch_not_configured", "the orchestrator needs documents, and OPENSEARCH_URL is not set"
            )
        with ORCHESTRATOR_STEP_SECONDS.labels("classify").time():
            said = await self._model.chat([SystemMessage(_CLASSIFY), HumanMessage(state["question"])])
        label = said.strip().strip(".\"'`*").lower()
        return {"category": label if label in CATEGORIES else _CATCH_ALL}

    async def retrieve(self, state: State) -> State:
        """The documents that are closest to the question, by words and by vectors."""
        assert self._documents is not None  # noqa: S101  classify refuses
        with ORCHESTRATOR_STEP_SECONDS.labels("retrieve").time():
            (vector,) = await self._model.embed([state["question"]])
            found = await self._documents.search(state["question"], vector, category=state["category"])
        return {"documents": [Passage(**document) for document in found]}

    async def answer(self, state: State, runtime: Runtime[Run]) -> State:
        """The model's answer, and with it one more turn of the thread."""
        with ORCHESTRATOR_STEP_SECONDS.labels("answer").time():
            try:
                async with asyncio.timeout(_LONGEST_ANSWER):
                    answer = await self._say(_prompt(state), streaming=runtime.context.streaming)
            except TimeoutError:
                raise ModelError(f"its answer took longer than {_LONGEST_ANSWER:g} s") from None
        turn = Turn(question=state["question"], answer=answer)
        return {
            "answer": answer,
            "turn": state.get("turn", 0) + 1,
            "history": [*state.get("history", []), turn][-_REMEMBERED:],
        }

    async def _say(self, messages: list[BaseMessage], *, streaming: bool) -> str:
        if not streaming:
            return await self._model.chat(messages)
        send = get_stream_writer()
        pieces = []
        async with aclosing(self._model.stream(messages)) as stream:
            async for piece in stream:
                pieces.append(piece)
                send(TokenEvent(type="token", content=piece))
        return "".join(pieces)


def _prompt(state: State) -> list[BaseMessage]:
    passages = "\n".join(f"{document['title']}: {document['text']}" for document in state["documents"])
    messages: list[BaseMessage] = [SystemMessage(_ANSWER + (passages or "(none)"))]
    for turn in state.get("history", [])[-_SHOWN:]:
        messages += [HumanMessage(turn["question"]), AIMessage(turn["answer"])]
    return [*messages, HumanMessage(state["question"])]
