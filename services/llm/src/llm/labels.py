"""Instructions to answer with one of some labels: found in a text, and followed."""

import re
from dataclasses import dataclass

from llm.text import stems

_INSTRUCTION = re.compile(
    r"\b(?:answer|reply|respond|classify|choose|pick|select|return|output)\b[^.:\n]{0,120}\bone of\b[^.:\n]{0,80}:",
    re.IGNORECASE,
)
_SEPARATOR = re.compile(r"\s*(?:,\s*or\s|,|\||\bor\b)\s*", re.IGNORECASE)
_SENTENCE_END = re.compile(r"\.(?=\s|$)")
_BULLET = re.compile(r"[ \t]*(?:[-*•]|\d{1,3}[.)])[ \t]+")
_QUOTES = "\"'`* \t"
_NAME = re.compile(r"\w[\w /-]{0,60}")
_HINTED = re.compile(r"([^()]{1,80})\(([^()]*)\)")


@dataclass(frozen=True)
class Label:
    """`name`: what is answered. `hints`: words that point to it."""

    name: str
    hints: str = ""


@dataclass(frozen=True)
class Choice:
    """At least two `labels`. `before`, `after`: the text around the instruction."""

    labels: tuple[Label, ...]
    before: str
    after: str

    def pick(self, question: str) -> str:
        """The label that shares most stems with `question`: the first of equals, the last when none shares any."""
        asked = stems(question)
        shared = [len(asked & stems(f"{label.name} {label.hints}")) for label in self.labels]
        return self.labels[shared.index(max(shared)) if any(shared) else -1].name


def find(text: str) -> Choice | None:
    """The first instruction in `text` that is followed by labels."""
    for match in _INSTRUCTION.finditer(text):
        line, _, below = text[match.end() :].partition("\n")
        labels, after = _inline(line, below) if line.strip() else _listed(below)
        if len(labels) > 1:
            return Choice(tuple(labels), text[: match.start()], after)
    return None


def _inline(line: str, below: str) -> tuple[list[Label], str]:
    end = _SENTENCE_END.search(line)
    listed, after = (line[: end.start()], line[end.end() :]) if end else (line, "")
    # Commas between hints are no separators: they are hidden while the list is split.
    parts = _SEPARATOR.split(re.sub(r"\([^()]*\)", lambda hints: re.sub(r"[,|]|\bor\b", " ", hints[0]), listed))
    return _labels(parts), f"{after}\n{below}"


def _listed(below: str) -> tuple[list[Label], str]:
    lines = below.splitlines()
    items: list[str] = []
    for line in lines:
        bullet = _BULLET.match(line)
        # Without a bullet, only a bare word is an item: anything else is the text that follows.
        if bullet is None and re.fullmatch(r"[\w/-]+", line.strip(_QUOTES)) is None:
            break
        items.append(line[bullet.end() :] if bullet else line)
    return _labels(items), "\n".join(lines[len(items) :])


def _labels(parts: list[str]) -> list[Label]:
    """A label for each part; none at all when one of them is no label."""
    found = []
    for part in parts:
        hinted = _HINTED.fullmatch(part.strip())
        name, hints = (hinted[1], hinted[2]) if hinted else _described(part)
        name = name.strip(_QUOTES)
        if _NAME.fullmatch(name) is None:
            return []
        found.append(Label(name, hints))
    return found


def _described(part: str) -> tuple[str, str]:
    name, _, hints = re.sub(r"\s+-\s+", ": ", part, count=1).partition(":")
    return name, hints
