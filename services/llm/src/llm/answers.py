"""What the model says: made from the messages alone, in the order that WIRE.md lists."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from llm import labels, schemas
from llm.requests import ChatRequest, Message, Tool
from llm.text import quote, stems, tokens

_QUESTION = re.compile(r"^[ \t]*question:[ \t]*(?=\S)", re.IGNORECASE | re.MULTILINE)
_PASSAGES = 3
_EARLIER = 5


@dataclass(frozen=True)
class Call:
    """A tool, and its arguments as JSON."""

    name: str
    arguments: str


@dataclass(frozen=True)
class Answer:
    """Either `text` or a `call`; `cut`: there would have been more than was allowed."""

    text: str = ""
    call: Call | None = None
    cut: bool = False

    @property
    def finish_reason(self) -> str:
        return "tool_calls" if self.call else "length" if self.cut else "stop"

    @property
    def tokens(self) -> list[str]:
        return tokens(self.call.arguments if self.call else self.text)


@dataclass(frozen=True)
class _Conversation:
    """The messages as the answers see them."""

    asked: str
    question: str
    context: tuple[str, ...]
    instructions: tuple[str, ...]
    earlier: tuple[str, ...]
    results: tuple[str, ...]


def answer(request: ChatRequest) -> Answer:
    """The answer to `request`. Raises UnfillableError for a schema that no document fits."""
    talk = _read(request.messages)
    text = _text(talk)
    tool = _tool(request, talk)
    if tool is not None:
        schema = tool.function.parameters or {"type": "object", "properties": {}}
        filled = schemas.fill(schema, text, partial(_among, talk))
        return Answer(call=Call(tool.function.name, json.dumps(filled)))
    wanted = request.response_format
    if wanted is not None and wanted.json_schema is not None:
        text = json.dumps(schemas.fill(wanted.json_schema.document, text, partial(_among, talk)))
    elif wanted is not None and wanted.type == "json_object":
        text = json.dumps({"answer": text})
    else:
        text = _label(talk) or text
    return _limited(text, request)


def _read(messages: Sequence[Message]) -> _Conversation:
    users = [place for place, message in enumerate(messages) if message.role == "user"]
    last = users[-1] if users else len(messages) - 1
    asked = messages[last].text
    instructions = [message.text for message in messages if message.role in ("system", "developer")]
    context = [line for text in instructions for line in text.splitlines()]
    question = asked
    if marked := _QUESTION.search(asked):
        line, _, below = asked[marked.end() :].partition("\n")
        question = line
        context += [*asked[: marked.start()].splitlines(), *below.splitlines()]
    return _Conversation(
        asked=asked,
        question=question,
        context=tuple(line for line in context if line.strip()),
        instructions=tuple(instructions),
        earlier=tuple(messages[place].text for place in users[:-1]),
        results=tuple(message.text for message in messages[last + 1 :] if message.role == "tool"),
    )


def _text(talk: _Conversation) -> str:
    lines = [f'Answer to "{quote(talk.question)}".']
    if passages := _passages(talk):
        lines.append(f"From the context: {' | '.join(map(quote, passages))}")
    if talk.earlier:
        said = "; ".join(f'"{quote(text)}"' for text in talk.earlier[-_EARLIER:])
        lines.append(f"Earlier you asked: {said}")
    if talk.results:
        lines.append(f"The tool said: {quote(' '.join(talk.results))}")
    return "\n".join(lines)


def _passages(talk: _Conversation) -> list[str]:
    asked = stems(talk.question)
    shared = [(len(asked & stems(line)), line) for line in talk.context]
    # Sorted is stable: of equals, the first comes first.
    closest = [line for count, line in sorted(shared, key=lambda one: -one[0]) if count]
    return (closest or list(talk.context))[:_PASSAGES]


def _label(talk: _Conversation) -> str | None:
    if choice := labels.find(talk.asked):
        after = choice.after if choice.after.strip() else choice.before
        marked = _QUESTION.search(after)
        return choice.pick(after[marked.end() :] if marked else after)
    for text in reversed(talk.instructions):
        if choice := labels.find(text):
            return choice.pick(talk.question)
    return None


def _among(talk: _Conversation, names: list[str]) -> str:
    return labels.Choice(tuple(map(labels.Label, names)), "", "").pick(talk.question)


def _tool(request: ChatRequest, talk: _Conversation) -> Tool | None:
    choice = request.tool_choice
    mode = choice.mode if choice else "auto"
    for tool in request.tools or ():
        name = tool.function.name
        if mode == "required" or (mode == "named" and choice is not None and choice.name == name):
            return tool
        if mode == "auto" and request.messages[-1].role == "user" and name in talk.asked:
            return tool
    return None


def _limited(text: str, request: ChatRequest) -> Answer:
    """`text` up to the first stop, and not longer than was allowed."""
    ends = [place for stop in request.stop or () if (place := text.find(stop)) >= 0]
    parts = tokens(text[: min(ends)] if ends else text)
    allowed = request.max_completion_tokens or request.max_tokens or len(parts)
    return Answer(text="".join(parts[:allowed]), cut=allowed < len(parts))
