"""Text of unknown content, such as a container's log: its lines, and what of it may reach a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator

# CSI, and the strings that go on until their terminator (OSC, DCS, SOS, PM, APC), by two bytes or by one character.
_SEQUENCE = (
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-~]"
)
# C0 except tab and line feed, DEL, C1, and controls of the direction of text.
_CHARACTER = r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"
_CONTROL = re.compile(rf"{_SEQUENCE}|{_CHARACTER}")
_COLOUR = re.compile(r"\x1b\[[0-9;:]*m")
_RESET = "\x1b[0m"


def lines(text: bytes | str) -> list[str]:
    """Return the lines of ``text``, without line feeds. Only a line feed ends one: progress bars use carriage returns,
    and Python would split at form feeds and U+2028 too. Bytes that are not UTF-8 become U+FFFD."""
    whole = text.decode(errors="replace") if isinstance(text, bytes) else text
    found = whole.split("\n")
    return found if found[-1] else found[:-1]


def printable(text: str) -> str:
    """Return ``text`` without control characters and sequences; tabs and line feeds stay."""
    return _CONTROL.sub("", text)


def coloured(line: str) -> str:
    """Return ``line`` without control characters and sequences, except those that set colours, which are reset at its
    end."""
    shown = "".join(_but_colours(line))
    return f"{shown}{_RESET}" if "\x1b" in shown else shown


def _but_colours(line: str) -> Iterator[str]:
    end = 0
    for found in _CONTROL.finditer(line):
        yield line[end : found.start()]
        if _COLOUR.fullmatch(found[0]):
            yield found[0]
        end = found.end()
    yield line[end:]
