"""What OpenAI's own client makes of the double."""

import asyncio
import math
from collections.abc import Sequence
from typing import Any, TypeVar

import openai
import pytest
from live.harness import KEY, Double
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionMessageFunctionToolCall
from pydantic import BaseModel

T = TypeVar("T")
SYSTEM = "You answer from these notes.\nOSPF areas have routers.\nCats purr."
MESSAGES: Any = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": "Which OSPF areas are there?"}]
ANSWER = 'Answer to "Which OSPF areas are there?".\nFrom the context: OSPF areas have routers.'
TOOLS: Any = [
    {
        "type": "function",
        "function": {"name": "lookup", "parameters": {"type": "object", "properties": {"term": {"type": "string"}}}},
    }
]


def _only(calls: Sequence[T] | None) -> T:
    assert calls is not None
    (call,) = calls
    return call


def test_chat(double: Double) -> None:
    first, second = (double.openai.chat.completions.create(model="gpt-4o", messages=MESSAGES) for _ in range(2))
    assert first.choices[0].message.content == second.choices[0].message.content == ANSWER
    assert first.choices[0].finish_reason == "stop"
    assert first.id != second.id
    assert first.usage is not None
    assert (first.usage.prompt_tokens, first.usage.completion_tokens, first.usage.total_tokens) == (20, 20, 40)
    assert first._request_id == double.seen()[0]["request_id"]


def test_stream(double: Double) -> None:
    stream = double.openai.chat.completions.create(
        model="gpt-4o", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    )
    *chunks, last = stream
    texts = [chunk.choices[0].delta.content for chunk in chunks]
    assert "".join(text or "" for text in texts) == ANSWER
    assert (chunks[0].choices[0].delta.role, chunks[-1].choices[0].finish_reason) == ("assistant", "stop")
    assert len({chunk.id for chunk in [*chunks, last]}) == 1
    assert not last.choices
    assert last.usage is not None
    # The role and the reason are chunks too; all others are a token each.
    assert last.usage.completion_tokens == len(chunks) - 2 == 20


def test_a_stream_without_usage_ends_with_the_reason(double: Double) -> None:
    *_, last = double.openai.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True, max_tokens=3)
    assert (last.choices[0].finish_reason, last.usage) == ("length", None)


def test_chunks_come_one_by_one(double: Double) -> None:
    double.behave(chunk_delay_ms=100)
    stream = double.openai.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True)
    next(stream), next(stream)
    # The client has two chunks while the double still makes others.
    assert double.seen()[0]["outcome"] == "running"
    stream.close()


def test_a_tool_is_called(double: Double) -> None:
    asked: Any = [{"role": "user", "content": "lookup BGP"}]
    answer = double.openai.chat.completions.create(model="gpt-4o", messages=asked, tools=TOOLS)
    call = _only(answer.choices[0].message.tool_calls)
    assert answer.choices[0].finish_reason == "tool_calls"
    assert isinstance(call, ChatCompletionMessageFunctionToolCall)
    with double.openai.chat.completions.stream(model="gpt-4o", messages=asked, tools=TOOLS) as stream:
        streamed = _only(stream.get_final_completion().choices[0].message.tool_calls)
    assert streamed.function.model_dump(include={"name", "arguments"}) == call.function.model_dump()
    assert call.function.arguments == r'{"term": "Answer to \"lookup BGP\"."}'


def test_an_answer_in_a_schema_is_parsed(double: Double) -> None:
    class Verdict(BaseModel):
        reason: str
        certain: bool

    parsed = double.openai.chat.completions.parse(model="gpt-4o", messages=MESSAGES, response_format=Verdict)
    assert parsed.choices[0].message.parsed == Verdict(reason=ANSWER, certain=True)


def test_embeddings(double: Double) -> None:
    # Not told otherwise, the client asks for base64 and decodes it.
    texts = ["OSPF areas have routers", "the OSPF router of an area", "Cats purr"]
    made = double.openai.embeddings.create(model="text-embedding-3-small", input=texts)
    assert double.seen()[0]["body"]["encoding_format"] == "base64"
    vectors = [one.embedding for one in made.data]
    assert [len(vector) for vector in vectors] == [64] * 3
    assert [math.hypot(*vector) for vector in vectors] == pytest.approx([1.0] * 3, abs=1e-6)
    near, far = (sum(a * b for a, b in zip(vectors[0], other, strict=True)) for other in vectors[1:])
    assert near > far + 0.3
    plain = double.openai.embeddings.create(model="text-embedding-3-small", input=texts, encoding_format="float")
    assert [one.embedding for one in plain.data] == vectors
    assert (made.usage.prompt_tokens, made.usage.total_tokens) == (12, 12)


def test_embeddings_of_a_wanted_size_and_of_tokens(double: Double) -> None:
    made = double.openai.embeddings.create(model="text-embedding-3-large", input=[[1, 2], [3]], dimensions=256)
    assert [len(one.embedding) for one in made.data] == [256, 256]
    single = double.openai.embeddings.create(model="text-embedding-3-large", input=[1, 2], dimensions=256)
    assert single.data[0].embedding == made.data[0].embedding


def test_models(double: Double) -> None:
    listed = [model.id for model in double.openai.models.list()]
    assert "gpt-4-turbo" in listed
    assert double.openai.models.retrieve("gpt-4-turbo").object == "model"
    with pytest.raises(openai.NotFoundError, match="does not exist") as caught:
        double.openai.models.retrieve("gpt-9")
    assert caught.value.code == "model_not_found"


def test_a_wrong_key_is_refused(double: Double) -> None:
    other = double.openai.with_options(api_key="sk-other")
    with pytest.raises(openai.AuthenticationError, match="Incorrect API key") as caught:
        other.chat.completions.create(model="gpt-4o", messages=MESSAGES)
    assert caught.value.code == "invalid_api_key"
    (seen,) = double.seen()
    assert (seen["status"], seen["body"]) == (401, None)


def test_the_client_retries_as_it_is_told_to(double: Double) -> None:
    double.behave(fail_status=429, times=2, retry_after_ms=10)
    answer = double.openai.with_options(max_retries=2).chat.completions.create(model="gpt-4o", messages=MESSAGES)
    assert answer.choices[0].message.content == ANSWER
    assert [seen["status"] for seen in double.seen()] == [429, 429, 200]


def test_many_at_a_time(double: Double) -> None:
    async def ask(client: AsyncOpenAI, number: int) -> str | None:
        asked: Any = [{"role": "user", "content": f"number {number}"}]
        return (await client.chat.completions.create(model="gpt-4o", messages=asked)).choices[0].message.content

    async def ask_all() -> list[str | None]:
        async with AsyncOpenAI(base_url=f"{double.url}/v1", api_key=KEY, max_retries=0) as client:
            return await asyncio.gather(*(ask(client, number) for number in range(40)))

    assert asyncio.run(ask_all()) == [f'Answer to "number {number}".' for number in range(40)]
