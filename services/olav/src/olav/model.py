"""The language model and its embeddings: OpenAI's API, or what speaks it, with bounded retries.

ModelError (502 `model_failed`): the model refused, kept failing, was too slow, or broke off.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from typing import Any, Self, TypeVar, cast

import httpx2
import openai
import structlog
from chassis.errors import ApiError
from langchain_core.embeddings import Embeddings
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_openai import AzureChatOpenAI, AzureOpenAIEmbeddings, ChatOpenAI, OpenAIEmbeddings
from langchain_openai.chat_models.base import BaseChatOpenAI
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from olav.metrics import MODEL_RETRIES
from olav.settings import Settings

log = structlog.get_logger("olav")

T = TypeVar("T")

_ATTEMPTS = 4
# What a rate limit may ask for, in seconds: longer, and whoever asked has gone.
_LONGEST_PAUSE = 5.0
_PAUSES = wait_exponential_jitter(multiplier=0.2, max=2.0, jitter=0.1)
_HALF = "it broke off in the middle of its answer"
_AZURE_API_VERSION = "2024-10-21"


class ModelError(ApiError):
    """The model has not answered, whatever was tried."""

    def __init__(self, message: str) -> None:
        super().__init__(502, "model_failed", f"the model failed: {message}")


class _BrokenOff(Exception):
    """The stream ended without the model's word that it is done."""


class Model:
    """Chat and embeddings of one provider, for one event loop. `timeout_seconds`: how long the model may be silent."""

    def __init__(self, settings: Settings, *, timeout_seconds: float = 30.0) -> None:
        # A client of our own: LangChain's is shared by the whole process, and with it the event loop of whoever came
        # first.
        self._http = httpx2.AsyncClient(follow_redirects=True, limits=httpx2.Limits(max_connections=100))
        self._timeout_seconds = timeout_seconds
        self._chat, self._embeddings = _clients(settings, self._http, timeout_seconds)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def ping(self) -> None:
        """Raises openai.OpenAIError when the provider does not list its models within 2 s."""
        await self._chat.root_async_client.with_options(timeout=2.0, max_retries=0).models.list()

    async def chat(self, messages: Sequence[BaseMessage]) -> str:
        """The answer as a whole. Raises ModelError."""
        answer = await self._retried(lambda: self._chat.ainvoke(list(messages)))
        return str(answer.text)

    async def stream(self, messages: Sequence[BaseMessage]) -> AsyncGenerator[str, None]:
        """The answer piece by piece, as it is said. Raises ModelError; tried again only while nothing was said."""
        first, rest = await self._retried(lambda: self._begin(messages))
        finished = _finished(first)
        async with aclosing(rest):
            yield str(first.text)
            try:
                async for chunk in rest:
                    finished = finished or _finished(chunk)
                    if chunk.text:
                        yield str(chunk.text)
            except openai.APITimeoutError as error:
                raise ModelError(self._reason(error)) from error
            except openai.OpenAIError as error:
                raise ModelError(_HALF) from error
        if not finished:
            raise ModelError(_HALF)

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector a text. Raises ModelError."""
        return await self._retried(lambda: self._embeddings.aembed_documents(list(texts)))

    async def _begin(
        self, messages: Sequence[BaseMessage]
    ) -> tuple[AIMessageChunk, AsyncGenerator[AIMessageChunk, None]]:
        """The first piece that says something, and the others."""
        chunks = cast("AsyncGenerator[AIMessageChunk, None]", self._chat.astream(list(messages)))
        async for chunk in chunks:
            if chunk.text:
                return chunk, chunks
            if _finished(chunk):
                raise ModelError("its answer is empty")
        raise _BrokenOff

    async def _retried(self, call: Callable[[], Awaitable[T]]) -> T:
        attempts = AsyncRetrying(
            retry=retry_if_exception(lambda error: _transient(error) is not None),
            stop=stop_after_attempt(_ATTEMPTS),
            wait=_pause,
            before_sleep=_count,
            reraise=True,
        )
        try:
            async for attempt in attempts:
                with attempt:
                    return await call()
        except (openai.OpenAIError, _BrokenOff) as error:
            tried = attempts.statistics["attempt_number"]
            often = f", {tried} times" if tried > 1 else ""
            raise ModelError(f"{self._reason(error)}{often}") from error
        raise AssertionError("the last attempt raises or returns")

    def _reason(self, error: Exception) -> str:
        """In our words: the provider's may quote what it was sent."""
        match error:
            case openai.APITimeoutError():
                return f"no word from it within {self._timeout_seconds:g} s"
            case openai.APIStatusError():
                return f"it answered {error.status_code}"
            case openai.APIConnectionError():
                return "it cannot be reached"
            case _BrokenOff():
                return "it broke off before its answer"
            case _:
                return "its answer cannot be understood"


def _clients(settings: Settings, http: httpx2.AsyncClient, timeout: float) -> tuple[BaseChatOpenAI, Embeddings]:
    # Retries are ours: counted, bounded, and never hidden in a client.
    shared: dict[str, Any] = {
        "api_key": settings.llm_api_key,
        "http_async_client": http,
        "max_retries": 0,
        "timeout": timeout,
    }
    # The length check would download a tokenizer's tables.
    embedding: dict[str, Any] = {
        "model": settings.llm_embedding_model_name,
        "check_embedding_ctx_length": False,
    }
    chat: dict[str, Any] = {"model": settings.llm_model_name, "temperature": 0}
    if settings.llm_provider == "azure":
        shared |= {"azure_endpoint": settings.llm_base_url, "api_version": _AZURE_API_VERSION}
        return (
            AzureChatOpenAI(**chat, **shared, azure_deployment=settings.llm_model_name),
            AzureOpenAIEmbeddings(**embedding, **shared, deployment=settings.llm_embedding_model_name),
        )
    # Ollama serves OpenAI's API beneath /v1.
    shared["base_url"] = settings.llm_base_url
    return ChatOpenAI(**chat, **shared), OpenAIEmbeddings(**embedding, **shared)


def _finished(chunk: AIMessageChunk) -> bool:
    return bool(chunk.response_metadata.get("finish_reason"))


def _transient(error: BaseException) -> str | None:
    """Why it may be worth another try, as the metric calls it."""
    match error:
        case openai.APITimeoutError():
            return None
        case openai.APIConnectionError() | _BrokenOff():
            return "connection"
        case openai.RateLimitError():
            return "429"
        case openai.APIStatusError() if error.status_code >= 500:
            return "5xx"
        case _:
            return None


def _pause(state: RetryCallState) -> float:
    asked = 0.0
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, openai.RateLimitError):
        # A date, which it may be too, is not worth reading: our own pause will do.
        with suppress(ValueError):
            headers = error.response.headers
            milliseconds = headers.get("retry-after-ms")
            asked = float(milliseconds) / 1000 if milliseconds else float(headers.get("retry-after", 0))
    return max(_PAUSES(state), min(asked, _LONGEST_PAUSE))


def _count(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    reason = _transient(error) if error else None
    MODEL_RETRIES.labels(reason).inc()
    log.warning("the model failed, trying again", reason=reason, attempt=state.attempt_number)
