"""What the orchestrator is asked, what it answers, and what it remembers of a thread."""

from dataclasses import dataclass
from typing import Annotated, Literal, TypedDict

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

THREAD_ID = r"^[A-Za-z0-9._:-]{1,128}$"


def _storable(text: str) -> str:
    # PostgreSQL's text has no place for it.
    if "\x00" in text:
        raise PydanticCustomError("nul", "must not contain the character U+0000")
    if not text.strip():
        raise PydanticCustomError("blank", "must not be blank")
    return text


class Input(BaseModel):
    model_config = ConfigDict(extra="forbid")

    question: Annotated[
        str,
        Field(min_length=1, max_length=4000, json_schema_extra={"pattern": r"^[^\u0000]*[^\s\u0000][^\u0000]*$"}),
        AfterValidator(_storable),
    ]


class Source(BaseModel):
    """A document that the answer was made from. `score`: 1 is the best there can be."""

    id: str
    title: str
    score: float


class Output(BaseModel):
    """`turn`: 1 for the first question of a thread."""

    answer: str
    category: str
    documents: list[Source]
    thread_id: str
    turn: int


class TokenEvent(TypedDict):
    type: Literal["token"]
    content: str


class FinalEvent(TypedDict):
    type: Literal["final"]
    output: dict[str, object]


class Turn(TypedDict):
    question: str
    answer: str


class Passage(TypedDict):
    id: str
    title: str
    text: str
    score: float


class State(TypedDict, total=False):
    """Plain values only: that is what checkpoints are made of. `history`: the last answered turns, oldest first;
    a run that fails leaves it, and `turn`, as they were."""

    question: str
    category: str
    documents: list[Passage]
    answer: str
    turn: int
    history: list[Turn]


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run's way of answering. `streaming`: pieces of the answer leave as they come."""

    streaming: bool
