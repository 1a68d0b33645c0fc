"""What the first process of a runner tells when its suite has ended: one line of JSON, and no more trusted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ephemera.driver import recording


class Test(BaseModel):
    """A phase of a test: when it ran (seconds since the epoch), how it ended, and the text of its failure."""

    model_config = ConfigDict(frozen=True)

    nodeid: str
    phase: str
    start: float
    stop: float
    outcome: str
    text: str


class Account(BaseModel):
    """``exit_code``: pytest's own, negative when it was killed; ``counts``: of its summary. ``missing``: what the image
    lacks, and then nothing ran."""

    model_config = ConfigDict(frozen=True)

    exit_code: int = 0
    counts: Mapping[str, int] = Field(default_factory=dict)
    out_of_memory: bool = False
    tests: Sequence[Test] = ()
    missing: Sequence[str] = ()


def read(line: bytes) -> Account | None:
    """The account, or None when the line is none."""
    if not line.startswith(b'{"ephemera": '):
        return None
    try:
        return _Line.model_validate_json(line).ephemera
    except ValidationError:
        return None


def record(stack: str, run: str, account: Account, redacted: Callable[[str], str]) -> None:
    """Add its tests to the recording of ``stack``, for evidence."""
    for test in account.tests:
        recording.append(stack, "test", session=run, **{**test.model_dump(), "text": redacted(test.text)})


class _Line(BaseModel):
    ephemera: Account
