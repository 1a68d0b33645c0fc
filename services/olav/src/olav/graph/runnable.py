"""The orchestrator as LangChain's Runnable, which is what LangServe serves."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated, Any

from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.utils import ConfigurableFieldSpec
from pydantic import BaseModel, Field
from typing_extensions import override

from olav.graph.orchestrator import Orchestrator
from olav.graph.state import THREAD_ID, FinalEvent, Input, Output, TokenEvent

# Two underscores: LangChain copies what has none into the run's metadata.
USERNAME = "__olav_username"

_BATCH_AT_ONCE = 4

Asked = dict[str, Any]


class Served(Runnable[Asked, Any]):
    """Input as state.Input; `invoke` gives an Output's values, `stream` TokenEvents and one FinalEvent.

    `config["configurable"]`: `thread_id` if the caller gave one, and under USERNAME whose thread it is.
    """

    name = "orchestrator"

    def __init__(self, orchestrator: Orchestrator) -> None:
        self._orchestrator = orchestrator

    @override
    def get_input_schema(self, config: RunnableConfig | None = None) -> type[BaseModel]:
        return Input

    @override
    def get_output_schema(self, config: RunnableConfig | None = None) -> type[BaseModel]:
        return Output

    @property
    def config_specs(self) -> list[ConfigurableFieldSpec]:
        return [
            ConfigurableFieldSpec(
                id="thread_id",
                annotation=Annotated[str, Field(pattern=THREAD_ID)] | None,
                name="Thread",
                description="The conversation that this question goes on with; left out: a new one.",
                default=None,
            )
        ]

    @override
    def invoke(self, input: Asked, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        raise NotImplementedError("the orchestrator is asynchronous: use ainvoke")

    @override
    async def ainvoke(self, input: Asked, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        username, thread_id = _whose(config)

        async def ask(asked: Asked) -> dict[str, Any]:
            output = await self._orchestrator.ask(username, asked["question"], thread_id)
            return output.model_dump()

        return await self._acall_with_config(ask, input, config)

    @override
    async def abatch(
        self,
        inputs: list[Asked],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[Any]:
        """Some at once; questions of one thread one after the other, as they are given."""
        configs = config if isinstance(config, list) else [config or {}] * len(inputs)
        slots = asyncio.Semaphore(_BATCH_AT_ONCE)
        lines: dict[object, asyncio.Lock] = defaultdict(asyncio.Lock)

        async def one(number: int) -> Any:
            thread = configs[number].get("configurable", {}).get("thread_id") or number
            async with lines[thread], slots:
                return await self.ainvoke(inputs[number], configs[number])

        tasks = [asyncio.create_task(one(number)) for number in range(len(inputs))]
        try:
            return list(await asyncio.gather(*tasks, return_exceptions=return_exceptions))
        finally:
            # After the first failure, the others are no use to anybody.
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    @override
    async def astream(self, input: Asked, config: RunnableConfig | None = None, **kwargs: Any) -> AsyncIterator[Any]:
        username, thread_id = _whose(config)

        async def only() -> AsyncIterator[Asked]:
            yield input

        async def tell(asked: AsyncIterator[Asked]) -> AsyncIterator[TokenEvent | FinalEvent]:
            async for one in asked:
                async with aclosing(self._orchestrator.stream(username, one["question"], thread_id)) as events:
                    async for event in events:
                        yield event

        async for event in self._atransform_stream_with_config(only(), tell, config):
            yield event


def _whose(config: RunnableConfig | None) -> tuple[str, str | None]:
    configurable = (config or {}).get("configurable", {})
    return configurable[USERNAME], configurable.get("thread_id")
