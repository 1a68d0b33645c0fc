"""A page of the documentation as a reader follows it: its files, its commands, and what it says that they print.

A block ``sh`` is typed in, and a block ``text`` right after it is what it prints: numbers, random suffixes, columns and
the lengths of rules do not count, ``…`` stands for any text, and a line ``[…]`` for any lines. Any other block after a
paragraph that begins with a file's name and ends with a colon is that file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(r"^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"`([^`\s]+)`.*:", re.DOTALL)
_ANY_LINES = "[…]"
_ANY_TEXT = "…"


@dataclass(frozen=True)
class File:
    """A file that the reader writes."""

    path: str
    text: str


@dataclass(frozen=True)
class Commands:
    """What the reader types in, and what is printed then; None where the page does not say."""

    text: str
    printed: str | None = None


def steps(document: str) -> list[File | Commands]:
    """The page's steps, in order."""
    found: list[File | Commands] = []
    end = 0
    for block in _BLOCK.finditer(document):
        between = document[end : block.start()].strip()
        end = block.end()
        if block["language"] == "sh":
            found.append(Commands(block["text"]))
        elif block["language"] == "text" and not between and isinstance(last := found[-1], Commands):
            found[-1] = Commands(last.text, block["text"])
        elif named := _FILE.fullmatch(between.rpartition("\n\n")[2]):
            found.append(File(named[1], block["text"]))
    return found


def section(document: str, title: str) -> str:
    """The text below a heading, up to the next one of its kind."""
    (found,) = re.findall(rf"^## {re.escape(title)}$(.*?)(?=^## |\Z)", document, re.MULTILINE | re.DOTALL)
    return str(found)


def write(file: File, folder: Path) -> None:
    """Write the file as the reader does."""
    path = folder / file.path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(file.text)


def prints_as_shown(shown: str, printed: str) -> bool:
    """Whether the output is what the page shows."""
    lines = [
        "(?:.*\n)*?" if line == _ANY_LINES else f"{'.*'.join(map(re.escape, line.split(_ANY_TEXT)))}\n"
        for line in _plain(shown)
    ]
    return re.fullmatch("".join(lines), "".join(f"{line}\n" for line in _plain(printed))) is not None


def _plain(text: str) -> list[str]:
    for pattern, plain in (
        (r"[ \t]+", " "),
        ("=+", "="),
        (r"-[a-z0-9]{6}\b", "-suffix"),
        (r"\d+(\.\d+)*(\+\w+)?", "0"),
    ):
        text = re.sub(pattern, plain, text)
    return [line.strip() for line in text.splitlines() if line.strip()]
