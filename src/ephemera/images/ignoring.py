"""What a ``.dockerignore`` leaves of a folder, by Docker's rules: https://docs.docker.com/build/concepts/context/"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from pathlib import Path

from ephemera.contract.errors import InputError

NAME = ".dockerignore"
_WILD = re.compile(r"[*?\[\\]")


@dataclass(frozen=True)
class _Pattern:
    text: str
    excepted: bool
    matches: re.Pattern[str]

    def may_match_below(self, folder: str) -> bool:
        """Whether it may match something in that folder."""
        for mine, its in zip(self.text.split("/"), folder.split("/"), strict=False):
            if _WILD.search(mine):
                return True
            if mine != its:
                return False
        return True


@dataclass(frozen=True)
class Ignored:
    """Patterns of a ``.dockerignore``, in order; the last one that matches a path or a folder above it counts."""

    patterns: tuple[_Pattern, ...]

    @staticmethod
    def of(context: Path, dockerfile: str) -> Ignored:
        """Read ``<dockerfile>.dockerignore``, else ``.dockerignore``. Neither it nor the Dockerfile can be ignored.

        Raises :class:`InputError` when one of them is no regular file.
        """
        names = (f"{dockerfile}{NAME}", NAME)
        for name in names:
            _refuse_irregular(context / name)
        for name in names:
            path = context / name
            if path.is_file():
                lines = path.read_bytes().decode(errors="surrogateescape").removeprefix("\ufeff").split("\n")
                written = [_pattern(path, line.strip()) for line in lines if line.strip() and not line.startswith("#")]
                always = [_pattern(path, f"!{re.sub(_WILD, _escaped, each)}") for each in (dockerfile, name)]
                return Ignored(tuple(each for each in (*written, *always) if each))
        return Ignored(())

    def __contains__(self, path: str) -> bool:
        above = [path]
        while parent := posixpath.dirname(above[-1]):
            above.append(parent)
        ignored = False
        for pattern in self.patterns:
            if pattern.excepted == ignored and any(pattern.matches.fullmatch(each) for each in above):
                ignored = not ignored
        return ignored

    def all_below(self, folder: str) -> bool:
        """Whether nothing in a folder that is ignored may be left by an exception."""
        return not any(pattern.excepted and pattern.may_match_below(folder) for pattern in self.patterns)


def _refuse_irregular(path: Path) -> None:
    # The engine opens both of what it is sent, and would wait for a writer of a FIFO.
    if path.exists() and not path.is_file():
        raise InputError(f"{path} is not a regular file", remedy="make it one, or remove it")


def _pattern(file: Path, line: str) -> _Pattern | None:
    excepted = line.startswith("!")
    text = posixpath.normpath(line.removeprefix("!").strip() or ".")
    text = text.lstrip("/") if len(text) > 1 else text
    if text == ".":
        if excepted and not line.removeprefix("!").strip():
            raise InputError(f"{file}: {line!r} names nothing", remedy="put a pattern after the `!`")
        return None
    try:
        return _Pattern(text, excepted, re.compile(_expression(text), re.DOTALL))
    except re.error as error:
        what = f"{file}: {line!r} is not a pattern ({error})"
        raise InputError(what, remedy="close its brackets, or escape them") from error


def _escaped(match: re.Match[str]) -> str:
    return f"\\{match[0]}"


def _expression(pattern: str) -> str:
    """A pattern of Go's ``filepath.Match``, and ``**`` for any number of folders, as a regular expression."""
    parts: list[str] = []
    tokens: list[str] = re.findall(r"\*\*/?|\\.|\[[^\]]*\]|.", pattern, re.DOTALL)
    for number, token in enumerate(tokens, 1):
        if token.startswith("**"):
            parts.append("(?:.*/)?" if number < len(tokens) else ".*")
        elif token == "*":  # noqa: S105 - a wildcard
            parts.append("[^/]*")
        elif token == "?":  # noqa: S105
            parts.append("[^/]")
        elif token.startswith("["):
            parts.append(token)
        else:
            parts.append(re.escape(token.removeprefix("\\") or token))
    return "".join(parts)
