"""Answers in OpenAI's words: one document, or the chunks of a stream."""

import secrets
import time
from collections.abc import Iterator
from typing import Any

from llm.answers import Answer, answer
from llm.requests import ChatRequest
from llm.text import tokens


class Completion:
    """The answer to one request. Raises UnfillableError."""

    def __init__(self, request: ChatRequest) -> None:
        self._request = request
        self._answer: Answer = answer(request)
        # Unlike the text, it differs from call to call, as with the original: clients tell messages apart by it.
        self._id = f"chatcmpl-{secrets.token_hex(12)}"
        self._call_id = f"call_{secrets.token_hex(12)}"
        self._created = int(time.time())

    def document(self) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": self._answer.text, "refusal": None}
        if call := self._answer.call:
            message |= {"content": None, "tool_calls": [self._call(call.name, call.arguments)]}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self._answer.finish_reason}
        return {**self._head("chat.completion"), "choices": [choice], "usage": self._usage()}

    def chunks(self) -> Iterator[dict[str, Any]]:
        """The role, each token, the reason why it ends, and the usage if it was asked for."""
        call = self._answer.call
        first: dict[str, Any] = {"role": "assistant", "content": "", "refusal": None}
        if call:
            first |= {"content": None, "tool_calls": [{"index": 0, **self._call(call.name, "")}]}
        yield self._chunk(first)
        for token in self._answer.tokens:
            piece = {"tool_calls": [{"index": 0, "function": {"arguments": token}}]} if call else {"content": token}
            yield self._chunk(piece)
        yield self._chunk({}, self._answer.finish_reason)
        if self._wants_usage:
            yield {**self._head("chat.completion.chunk"), "choices": [], "usage": self._usage()}

    @property
    def _wants_usage(self) -> bool:
        options = self._request.stream_options
        return options is not None and bool(options.include_usage)

    def _head(self, kind: str) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": kind,
            "created": self._created,
            "model": self._request.model,
            "system_fingerprint": "fp_double",
        }

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        usage = {"usage": None} if self._wants_usage else {}
        return {**self._head("chat.completion.chunk"), "choices": [choice], **usage}

    def _call(self, name: str, arguments: str) -> dict[str, Any]:
        return {"id": self._call_id, "type": "function", "function": {"name": name, "arguments": arguments}}

    def _usage(self) -> dict[str, int]:
        asked = sum(len(tokens(message.text)) for message in self._request.messages)
        answered = len(self._answer.tokens)
        return {"prompt_tokens": asked, "completion_tokens": answered, "total_tokens": asked + answered}
