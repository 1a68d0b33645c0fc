"""What clients ask for: see WIRE.md. Fields that are not here are ignored."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from typing_extensions import TypedDict

from llm.errors import refused


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


WHOLE = BeforeValidator(_whole)
"""For an integer of JSON, where 1.0 is one too."""


def _text(content: Any) -> Any:
    """Content in parts as one text, an image as `[image]`."""
    if not isinstance(content, list):
        return content
    texts = []
    for number, part in enumerate(content):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text" and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif kind == "image_url" and isinstance(part.get("image_url"), dict):
            texts.append("[image]")
        else:
            raise ValueError(f"part {number} is neither a text nor an image_url")
    return "\n".join(texts)


def _stops(stop: Any) -> Any:
    return [stop] if isinstance(stop, str) else stop


def _tool_choice(choice: Any) -> Any:
    if isinstance(choice, str):
        return {"mode": choice}
    named = choice.get("function") if isinstance(choice, dict) and choice.get("type") == "function" else None
    return {"mode": "named", "name": named.get("name")} if isinstance(named, dict) else choice


def _inputs(value: Any) -> Any:
    """A list of texts. Tokens come as numbers: a text whose words they are."""
    if isinstance(value, str) or (isinstance(value, list) and value and isinstance(value[0], int | float)):
        value = [value]
    if not isinstance(value, list):
        raise ValueError("must be a string, a list of strings, a list of tokens, or a list of these")
    return [_tokens(one) if isinstance(one, list) else one for one in value]


def _tokens(values: list[Any]) -> str:
    numbers = [_whole(value) for value in values]
    if not all(type(number) is int and 0 <= number < 1 << 32 for number in numbers):
        raise ValueError("tokens must be integers from 0 upwards")
    return " ".join(map(str, numbers))


class TextPart(TypedDict):
    type: Literal["text"]
    text: str


class ImagePart(TypedDict):
    type: Literal["image_url"]
    image_url: dict[str, Any]


class _Named(TypedDict):
    name: str


class NamedTool(TypedDict):
    type: Literal["function"]
    function: _Named


_Some = Annotated[str, Field(min_length=1)]
_Stop = Annotated[list[_Some], Field(max_length=4)]
_Number = Annotated[int, Field(ge=0, lt=1 << 32)]
_Tokens = Annotated[list[_Number], Field(min_length=1)]
_Several = Field(min_length=1, max_length=2048)
_Inputs = Annotated[list[_Some], _Several] | Annotated[list[_Tokens], _Several]
# What comes over the wire, where it is not what a field is made into.
_content = BeforeValidator(_text, json_schema_input_type=str | list[TextPart | ImagePart] | None)
_stop = BeforeValidator(_stops, json_schema_input_type=_Some | _Stop | None)
_input = BeforeValidator(_inputs, json_schema_input_type=_Some | _Tokens | _Inputs)
_choice = BeforeValidator(_tool_choice, json_schema_input_type=Literal["none", "auto", "required"] | NamedTool | None)


class _Request(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)


class Message(_Request):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Annotated[str | None, _content] = None

    # An assistant's message may be nothing but tool calls.
    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"properties": {"role": {"const": "assistant"}}},
                {"properties": {"content": {"type": ["string", "array"]}}, "required": ["content"]},
            ]
        }
    )

    @model_validator(mode="after")
    def _has_content(self) -> "Message":
        if self.content is None and self.role != "assistant":
            raise ValueError(f"content is missing in a message of the {self.role}")
        return self

    @property
    def text(self) -> str:
        return self.content or ""


class Function(_Request):
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
    parameters: dict[str, Any] | None = None


class Tool(_Request):
    type: Literal["function"]
    function: Function


class ToolChoice(_Request):
    mode: Literal["none", "auto", "required", "named"]
    name: str = ""


class StreamOptions(_Request):
    include_usage: bool | None = None


class JsonSchema(_Request):
    # `schema` is a name that pydantic's own models have.
    document: Annotated[dict[str, Any], Field(alias="schema")]


class ResponseFormat(_Request):
    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"properties": {"type": {"enum": ["text", "json_object"]}}},
                {"properties": {"json_schema": {"type": "object"}}, "required": ["json_schema"]},
            ]
        }
    )

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None

    @model_validator(mode="after")
    def _has_schema(self) -> "ResponseFormat":
        if self.type == "json_schema" and self.json_schema is None:
            raise ValueError("json_schema is missing")
        return self


class ChatRequest(_Request):
    model: str
    messages: Annotated[list[Message], Field(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1), WHOLE] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1), WHOLE] | None = None
    stop: Annotated[_Stop | None, _stop] = None
    n: Annotated[int, Field(ge=1, le=1), WHOLE] | None = None
    temperature: Annotated[float | None, Field(ge=0, le=2)] = None
    top_p: Annotated[float | None, Field(ge=0, le=1)] = None
    seed: Annotated[int, WHOLE] | None = None
    tools: list[Tool] | None = None
    tool_choice: Annotated[ToolChoice | None, _choice] = None
    response_format: ResponseFormat | None = None

    def check_choice(self) -> None:
        """Raise the 400 for a `tool_choice` that chooses none of the `tools`: no schema can say so."""
        choice, names = self.tool_choice, [tool.function.name for tool in self.tools or ()]
        if choice is not None and choice.mode in ("required", "named") and not names:
            raise refused("tool_choice asks for a tool, and there are no tools", param="tool_choice")
        if choice is not None and choice.mode == "named" and choice.name not in names:
            message = f"tool_choice: there is no tool {choice.name!r}, only {', '.join(names)}"
            raise refused(message, param="tool_choice")


class EmbeddingsRequest(_Request):
    model: Annotated[str, Field(examples=["text-embedding-3-small"])]
    input: Annotated[list[_Some], _Several, _input]
    dimensions: Annotated[int, Field(ge=1, le=4096), WHOLE] | None = None
    encoding_format: Literal["float", "base64"] | None = None
