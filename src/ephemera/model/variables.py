"""Environment variables as text that reads back unchanged: ``export`` lines of a POSIX shell, and dotenv files."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection

from ephemera.model.errors import InputError

_NOT_IN_A_NAME = re.compile(r"[^A-Z0-9_]")
_PLAIN = re.compile(r"[A-Za-z0-9@%+=:,./_-]*")
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\r": "\\r", "\n": "\\n"}


def variable(*words: str, taken: Collection[str] = ()) -> str:
    """Return ``words`` as one name: upper case, ``_`` for other characters and before a leading digit. A ``taken`` name
    gets ``_2``, ``_3`` …"""
    name = "_".join(_NOT_IN_A_NAME.sub("_", word.upper()) for word in words)
    name = f"_{name}" if not name or name[0].isdigit() else name
    further = (f"{name}_{number}" for number in range(2, len(taken) + 3))
    return name if name not in taken else next(each for each in further if each not in taken)


def export_line(name: str, value: str) -> str:
    """Return the line by which a POSIX shell exports a variable; raise :class:`InputError` if none can."""
    return f"export {name}={shlex.quote(_checked(name, value))}"


def dotenv_line(name: str, value: str) -> str:
    """Return the line from which python-dotenv reads a variable by default; raise :class:`InputError` if none can.

    In single quotes, which most readers take literally; in double quotes only for a carriage return, which would be
    lost otherwise.
    """
    value = _checked(name, value)
    if value and _PLAIN.fullmatch(value):
        return f"{name}={value}"
    if "\r" in value:
        quote, text = '"', "".join(_ESCAPES.get(each, each) for each in value)
    else:
        quote, text = "'", value.replace("\\", "\\\\").replace("'", "\\'")
    # python-dotenv replaces ${NAME} within any quotes; an empty name yields the default that follows it.
    text = text.replace("${", "${:-$}{")
    # Before 1.2.3, it took an escaped backslash at the end for one that escapes the quote.
    end = "${:-}" if text.endswith("\\") else ""
    return f"{name}={quote}{text}{end}{quote}"


def _checked(name: str, value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InputError(f"{name} is not valid Unicode and cannot be a variable", remedy="use --format json") from None
    if "\0" in value:
        raise InputError(f"{name} has a NUL character and cannot be a variable", remedy="use --format json")
    return value
