"""``.dockerignore`` by Docker's rules: https://docs.docker.com/build/concepts/context/"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from ephemera.contract.errors import InputError

NAME = ".dockerignore"
_WILD = re.compile(r"[*?\[\\]")


@dataclass(frozen=True)
class _Pattern:
    """One line. ``excepted``: it begins with ``!``. ``literal``: the text before its first wildcard."""

    matches: re.Pattern[str]
    excepted: bool
    literal: str


class Ignored:
    """The paths of a build context that are left out: the last pattern that matches a path or a folder above it counts.

    Reads ``<dockerfile>.dockerignore``, else ``.dockerignore``; neither it nor the Dockerfile can be ignored. Raises
    :class:`InputError` for a pattern that is not valid and a file that is not regular.
    """

    def __init__(self, context: Path, dockerfile: str) -> None:
        names = (f"{dockerfile}{NAME}", NAME)
        for path in (context / name for name in names):
            # Docker opens both, and would wait for a writer of a FIFO.
            if path.exists() and not path.is_file():
                raise InputError(f"{path} is not a regular file", remedy="make it one, or remove it")
        self._patterns: list[_Pattern] = []
        if name := next((name for name in names if (context / name).is_file()), None):
            text = (context / name).read_bytes().decode(errors="surrogateescape").removeprefix("\ufeff")
            lines = [line.strip() for line in text.split("\n") if not line.startswith("#")]
            lines += ["!" + _WILD.sub(r"\\\g<0>", each) for each in (dockerfile, name)]
            self._patterns = [pattern for line in lines if (pattern := _pattern(context / name, line))]

    def __contains__(self, path: str) -> bool:
        ignored = False
        for pattern in self._patterns:
            downwards = accumulate(path.split("/"), posixpath.join)
            if pattern.excepted == ignored and any(map(pattern.matches.fullmatch, downwards)):
                ignored = not ignored
        return ignored

    def all_below(self, folder: str) -> bool:
        """Return whether no exception may match anything below a folder that is ignored."""
        inside = f"{folder}/"
        return not any(
            pattern.excepted and (pattern.literal.startswith(inside) or inside.startswith(pattern.literal))
            for pattern in self._patterns
        )


def _pattern(file: Path, line: str) -> _Pattern | None:
    """Return the pattern of a line, None for an empty one and for ``.``, which Docker ignores, too."""
    if line == "!":
        raise InputError(f"{file}: {line!r} names nothing", remedy="put a pattern after the `!`")
    text = posixpath.normpath(line.removeprefix("!").strip())
    text = text.lstrip("/") if len(text) > 1 else text
    if text == ".":
        return None
    try:
        matches = re.compile(_expression(text), re.DOTALL)
    except re.error as error:
        raise InputError(
            f"{file}: {line!r} is not a pattern ({error})", remedy="close or escape its brackets"
        ) from error
    return _Pattern(matches, line.startswith("!"), _WILD.split(text)[0])


def _expression(pattern: str) -> str:
    """Return a pattern of Go's ``filepath.Match``, with ``**`` for any number of folders, as a regular expression."""
    parts: list[str] = []
    tokens: list[str] = re.findall(r"\*\*/?|\\.|\[[^\]]*\]|.", pattern, re.DOTALL)
    for number, token in enumerate(tokens, 1):
        if token.startswith("**"):
            parts.append("(?:.*/)?" if number < len(tokens) else ".*")
        elif token in ("*", "?"):
            parts.append("[^/]*" if token == "*" else "[^/]")  # noqa: S105 - a wildcard
        elif token.startswith("["):
            parts.append(token)
        else:
            parts.append(re.escape(token.removeprefix("\\") or token))
    return "".join(parts)
