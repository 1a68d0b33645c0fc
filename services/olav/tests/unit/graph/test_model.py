"""The model behind real HTTP: what is repeated, what is not, and what is said when all was in vain."""

import time

import pytest
from chassis.settings import load
from doubles.model_server import Fault, ModelServer
from langchain_core.messages import HumanMessage
from olav.model import Model, ModelError
from olav.settings import Settings
from prometheus_client import REGISTRY

ASKED = [HumanMessage("Why?")]
SHORT = {"retry-after-ms": "10", "retry-after": "9"}


def retries(reason: str) -> float:
    return REGISTRY.get_sample_value("olav_model_retries_total", {"reason": reason}) or 0.0


async def all_of(client: Model) -> list[str]:
    return [piece async for piece in client.stream(ASKED)]


async def test_it_says_the_pieces_in_order(settings: Settings) -> None:
    async with Model(settings) as client:
        assert await all_of(client) == ["The", " heap", " is", " too", " large."]
        assert await client.chat(ASKED) == "The heap is too large."
        assert await client.embed(["a", "b"]) == [[1.0, 0.0], [1.0, 0.0]]
        await client.ping()


@pytest.mark.parametrize(("status", "reason"), [(429, "429"), (500, "5xx"), (503, "5xx")])
async def test_what_may_pass_is_tried_again_and_counted(
    settings: Settings, model: ModelServer, status: int, reason: str
) -> None:
    before = retries(reason)
    model.faults = [Fault(status=status, headers=SHORT), Fault(status=status, headers=SHORT)]
    async with Model(settings) as client:
        assert await client.chat(ASKED) == "The heap is too large."
    assert len(model.asked) == 3
    assert retries(reason) == before + 2


async def test_a_rate_limit_is_given_the_pause_it_asks_for(settings: Settings, model: ModelServer) -> None:
    model.faults = [Fault(status=429, headers={"retry-after": "1"})]
    started = time.monotonic()
    async with Model(settings) as client:
        await client.chat(ASKED)
    assert 1.0 <= time.monotonic() - started < 3.0


@pytest.mark.parametrize("streaming", [True, False])
async def test_after_four_attempts_it_is_a_502_that_keeps_the_details(
    settings: Settings, model: ModelServer, streaming: bool
) -> None:
    model.failing = Fault(status=500)
    async with Model(settings) as client:
        with pytest.raises(ModelError) as caught:
            await (all_of(client) if streaming else client.chat(ASKED))
    assert (caught.value.status_code, caught.value.code) == (502, "model_failed")
    assert caught.value.detail == "the model failed: it answered 500, 4 times"
    assert len(model.asked) == 4


@pytest.mark.parametrize("status", [400, 401, 404])
async def test_a_refusal_is_not_tried_again(settings: Settings, model: ModelServer, status: int) -> None:
    model.failing = Fault(status=status)
    async with Model(settings) as client:
        with pytest.raises(ModelError, match=f"it answered {status}$"):
            await client.chat(ASKED)
        with pytest.raises(ModelError, match=f"it answered {status}$"):
            await client.embed(["a"])
    assert len(model.asked) == 2


@pytest.mark.parametrize("politely", [True, False])
async def test_a_stream_that_is_cut_before_it_says_anything_is_tried_again(
    settings: Settings, model: ModelServer, politely: bool
) -> None:
    model.faults = [Fault(cut_after=0, politely=politely)]
    async with Model(settings) as client:
        assert "".join(await all_of(client)) == "The heap is too large."
    assert len(model.asked) == 2


@pytest.mark.parametrize("politely", [True, False])
async def test_a_stream_that_is_cut_later_is_an_error_and_never_a_whole_answer(
    settings: Settings, model: ModelServer, politely: bool
) -> None:
    model.failing = Fault(cut_after=2, politely=politely)
    said: list[str] = []

    async def listen(client: Model) -> None:
        async for piece in client.stream(ASKED):
            said.append(piece)

    async with Model(settings) as client:
        with pytest.raises(ModelError, match="broke off in the middle"):
            await listen(client)
    assert said == ["The", " heap"]
    assert len(model.asked) == 1


async def test_an_empty_answer_is_an_error(settings: Settings, model: ModelServer) -> None:
    model.pieces = []
    async with Model(settings) as client:
        with pytest.raises(ModelError, match="its answer is empty"):
            await all_of(client)


async def test_silence_is_not_waited_for_twice(settings: Settings, model: ModelServer) -> None:
    model.failing = Fault(silent_seconds=1.0)
    async with Model(settings, timeout_seconds=0.2) as client:
        with pytest.raises(ModelError, match=r"no word from it within 0\.2 s$"):
            await client.chat(ASKED)
    assert len(model.asked) == 1


async def test_one_that_is_not_there_cannot_be_reached(settings: Settings) -> None:
    before = retries("connection")
    async with Model(settings.model_copy(update={"llm_base_url": "http://127.0.0.1:1/v1"})) as client:
        with pytest.raises(ModelError, match="it cannot be reached, 4 times"):
            await client.chat(ASKED)
    assert retries("connection") == before + 3


@pytest.mark.parametrize("provider", ["openai", "ollama", "azure"])
def test_each_provider_gets_its_client(provider: str) -> None:
    settings = load(
        Settings,
        {
            "LLM_PROVIDER": provider,
            "LLM_API_KEY": "key",
            "LLM_BASE_URL": "http://model:8080/v1",
            "POSTGRES_PASSWORD": "password",
        },
    )
    client = Model(settings)
    assert ("Azure" in type(client._chat).__name__) == (provider == "azure")
    assert str(client._chat.root_async_client.base_url).startswith("http://model:8080/")
