"""Which answer a request gets: tool call, JSON, label, text."""

import json
from typing import Any

import pytest
from chassis.errors import ApiError
from llm.answers import Answer, answer
from llm.requests import ChatRequest
from pydantic import ValidationError

CLASSIFY = "Answer with exactly one of these labels:\n- network: router, BGP\n- other: the rest"
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"enum": ["Oslo", "Paris"]}}, "required": ["city"]},
    },
}
CLOCK = {"type": "function", "function": {"name": "clock"}}


def _request(*messages: tuple[str, Any], **more: Any) -> ChatRequest:
    spoken = [{"role": role, "content": content} for role, content in messages]
    return ChatRequest.model_validate({"model": "m", "messages": spoken, **more})


def _answer(*messages: tuple[str, Any], **more: Any) -> Answer:
    return answer(_request(*messages, **more))


def _text(*messages: tuple[str, Any], **more: Any) -> str:
    return _answer(*messages, **more).text


def test_the_question_is_quoted() -> None:
    assert _text(("user", "What is\n OSPF?")) == 'Answer to "What is OSPF?".'


def test_the_closest_lines_of_the_context_are_quoted() -> None:
    context = "Be brief.\nCats purr.\nOSPF floods.\nOSPF areas have routers.\nBGP areas have routers."
    said = _text(
        ("system", context), ("developer", "An area border router."), ("user", "Which OSPF areas have a router?")
    )
    assert said.splitlines()[1] == (
        "From the context: OSPF areas have routers. | BGP areas have routers. | An area border router."
    )


def test_a_context_that_shares_no_word_is_quoted_from_its_beginning() -> None:
    assert _text(("system", "one\n\ntwo\nthree\nfour"), ("user", "?")).endswith("From the context: one | two | three")


def test_earlier_turns_are_quoted() -> None:
    turns = [("user", f"turn {number}") for number in range(7)]
    said = _text(*turns[:3], ("assistant", "nothing of it"), *turns[3:])
    assert said.splitlines() == [
        'Answer to "turn 6".',
        'Earlier you asked: "turn 1"; "turn 2"; "turn 3"; "turn 4"; "turn 5"',
    ]


def test_what_tools_said_is_quoted() -> None:
    earlier = (("user", "weather?"), ("assistant", None), ("tool", "sun"), ("assistant", "Sun."))
    said = _text(*earlier, ("user", "and now?"), ("assistant", None), ("tool", "rain"), ("tool", "and wind"))
    assert said.endswith("The tool said: rain and wind")


def test_a_line_with_a_question_makes_the_others_context() -> None:
    said = _text(("user", "Context:\nOSPF floods.\nQuestion: How does OSPF work?\nOSPF has areas."))
    assert said == 'Answer to "How does OSPF work?".\nFrom the context: OSPF floods. | OSPF has areas.'


def test_parts_are_one_text() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    assert _text(("user", [{"type": "text", "text": "See"}, image])) == 'Answer to "See [image]".'


@pytest.mark.parametrize(("question", "label"), [("Which router?", "network"), ("Good morning", "other")])
def test_a_label_is_answered(question: str, label: str) -> None:
    assert _text(("system", CLASSIFY), ("user", question)) == label
    assert _text(("user", f"{CLASSIFY}\n\nQuestion: {question}")) == label
    assert _text(("user", f"{question}\n{CLASSIFY}")) == label


def test_an_instruction_of_an_earlier_turn_is_over() -> None:
    assert _text(("user", CLASSIFY), ("assistant", "other"), ("user", "Which router?")).startswith("Answer to")


def test_limits() -> None:
    request = ("user", "one two three")
    assert _answer(request, max_tokens=2) == Answer(text="Answer to", cut=True)
    assert _answer(request, max_completion_tokens=1, max_tokens=9).finish_reason == "length"
    assert _answer(request, stop=["three", " two"]) == Answer(text='Answer to "one')
    assert _answer(request, stop="nowhere", max_tokens=99).finish_reason == "stop"


def test_json() -> None:
    question = ("user", "Which router?")
    assert json.loads(_text(question, response_format={"type": "json_object"})) == {
        "answer": 'Answer to "Which router?".'
    }
    schema = {"properties": {"kind": {"enum": ["router", "switch"]}, "why": {"type": "string"}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    assert json.loads(_text(question, response_format=wanted)) == {
        "kind": "router",
        "why": 'Answer to "Which router?".',
    }


@pytest.mark.parametrize(
    ("question", "choice", "called"),
    [
        ("Use get_weather for Oslo", None, "get_weather"),
        ("Use get_weather for Oslo", "auto", "get_weather"),
        ("Use get_weather for Oslo", "none", None),
        ("Hello", "auto", None),
        ("Hello", "required", "get_weather"),
        ("Use get_weather", {"type": "function", "function": {"name": "clock"}}, "clock"),
    ],
)
def test_tools(question: str, choice: Any, called: str | None) -> None:
    said = _answer(("user", question), tools=[WEATHER, CLOCK], tool_choice=choice)
    assert (said.call.name if said.call else None) == called
    assert said.finish_reason == ("tool_calls" if called else "stop")


def test_arguments_fit_the_tool() -> None:
    call = _answer(("user", "get_weather of Oslo"), tools=[WEATHER]).call
    assert call is not None
    assert json.loads(call.arguments) == {"city": "Oslo"}


def test_a_result_is_answered_and_no_further_call_made() -> None:
    said = _answer(("user", "get_weather of Oslo"), ("assistant", None), ("tool", "rain"), tools=[WEATHER])
    assert said.call is None
    assert "rain" in said.text


@pytest.mark.parametrize(
    ("more", "blamed"),
    [
        ({"tool_choice": "sometimes", "tools": [CLOCK]}, "tool_choice"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"n": 2}, "n"),
        ({"temperature": 3}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"stream": "yes"}, "stream"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user"}]}, "content is missing"),
        ({"messages": [{"role": "boss", "content": "x"}]}, "role"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "part 0"),
    ],
)
def test_a_bad_request_is_refused(more: dict[str, Any], blamed: str) -> None:
    with pytest.raises(ValidationError, match=blamed):
        _request(("user", "x"), **more)


@pytest.mark.parametrize(
    ("more", "blamed"),
    [
        ({"tool_choice": "required"}, "there are no tools"),
        ({"tool_choice": {"type": "function", "function": {"name": "x"}}, "tools": [CLOCK]}, "no tool 'x'"),
    ],
)
def test_a_choice_of_a_tool_that_is_not_there_is_refused(more: dict[str, Any], blamed: str) -> None:
    with pytest.raises(ApiError, match=blamed):
        _request(("user", "x"), **more).check_choice()
