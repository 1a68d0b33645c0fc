"""What a build has to know of a Dockerfile beforehand: its stages, its images, and whether BuildKit is needed.

Split as Docker's own parser does: directives on top, comments, lines that go on, heredocs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_DIRECTIVE = re.compile(r"#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*")
_HEREDOC = re.compile(r"(?:^|\s)\d*<<(-?)([^<\s]+)")
_VARIABLE = re.compile(r"\$(?:\{(\w+)(?::([-+])([^}]*))?\}|(\w+))")
_AUTOMATIC = re.compile(r"(?:TARGET|BUILD)(?:PLATFORM|OS|ARCH|VARIANT)|TARGETSTAGE")
_OFFICIAL_FRONTEND = re.compile(r"(?:docker\.io/)?docker/dockerfile(?:-upstream)?(?:[:@].*)?")
_BUILDKIT_FLAGS: Mapping[str, frozenset[str]] = {
    "RUN": frozenset({"mount", "network", "security", "device"}),
    "COPY": frozenset({"chmod", "link", "parents", "exclude"}),
    "ADD": frozenset({"chmod", "link", "checksum", "keep-git-dir", "exclude", "unpack"}),
    "HEALTHCHECK": frozenset({"start-interval"}),
}
_WITH_HEREDOCS = ("RUN", "COPY", "ADD")
_SCRATCH = "scratch"


@dataclass(frozen=True, kw_only=True)
class Instruction:
    """One instruction. ``line``: number of its first line; ``end``: of its last one, of its heredocs too. ``text``: the
    instruction as one line, without its keyword and flags."""

    line: int
    end: int
    keyword: str
    flags: Mapping[str, str]
    text: str
    heredoc: bool


@dataclass(frozen=True, kw_only=True)
class Base:
    """An image that a build starts or copies from. ``platform``: where the Dockerfile asks for one."""

    reference: str
    platform: str | None = None


def instructions(dockerfile: str) -> list[Instruction]:
    """Return every instruction, in order."""
    lines = _lines(dockerfile)
    goes_on = re.compile(re.escape(_directives(lines).get("escape", "\\")) + r"[ \t]*$")
    found = []
    at = 0
    while at < len(lines):
        first, parts = at, list[str]()
        while at < len(lines):
            line = lines[at]
            at += 1
            if _is_blank(line):
                if parts:
                    continue  # neither an empty line nor a comment ends an instruction
                break
            continued = goes_on.search(line)
            parts.append(line[: continued.start()] if continued else line)
            if not continued:
                break
        if not parts:
            continue
        keyword, flags, text = _split("".join(parts))
        end = _after_heredocs(lines, at, text) if keyword in _WITH_HEREDOCS else at
        given = Instruction(line=first + 1, end=end, keyword=keyword, flags=flags, text=text, heredoc=end != at)
        found.append(given)
        at = end
    return found


def labelled(dockerfile: str, marks: Mapping[str, str]) -> str:
    """Return the Dockerfile with these labels in every stage, so that whatever a build leaves behind carries them."""
    label = "LABEL " + " ".join(f'{key}="{value}"' for key, value in marks.items())
    lines = dockerfile.split("\n")
    for each in reversed([each for each in instructions(dockerfile) if each.keyword == "FROM"]):
        lines.insert(each.end, label)
    return "\n".join(lines)


def buildkit_only(dockerfile: str) -> str:
    """Return what only BuildKit understands of it, with its line; empty if Docker's classic builder understands all."""
    for each in instructions(dockerfile):
        if each.heredoc:
            return f"the heredoc in line {each.line}"
        if named := sorted(_BUILDKIT_FLAGS.get(each.keyword, frozenset()) & each.flags.keys()):
            return f"`{each.keyword} --{named[0]}` in line {each.line}"
        if _is_automatic(each):
            return f"the platform argument in line {each.line}"
    named_frontend = frontend(dockerfile)
    if named_frontend and not _OFFICIAL_FRONTEND.fullmatch(named_frontend):
        return f"`# syntax={named_frontend}`"
    return ""


def frontend(dockerfile: str) -> str:
    """Return the image that its ``# syntax=`` line names; empty without one."""
    return _directives(_lines(dockerfile)).get("syntax", "")


def is_official(named: str) -> bool:
    """Whether a frontend is Docker's own: every BuildKit has one of those built in."""
    return bool(_OFFICIAL_FRONTEND.fullmatch(named))


def without_frontend(dockerfile: str) -> str:
    """Return the Dockerfile with its ``# syntax=`` line made a plain comment: lines keep their numbers."""
    lines, directives = dockerfile.split("\n"), _directive_lines(_lines(dockerfile))
    for number, line in enumerate(directives):
        if line.lower().partition("=")[0].strip("# \t") == "syntax":
            del lines[number]
            lines.insert(len(directives) - 1, "#")  # above an escape directive, that would not be one any more
            break
    return "\n".join(lines)


def bases(dockerfile: str, arguments: Mapping[str, str], target: str | None) -> list[Base]:
    """Return the images that its stages up to ``target`` are made from, as far as their names can be known."""
    values: dict[str, str] = {}
    stages: list[str] = []
    found: dict[Base, None] = {}
    reached = False
    for each in instructions(dockerfile):
        if each.keyword == "ARG" and not stages:
            for name, value in _arguments(each.text):
                values[name] = arguments.get(name, _expanded(value, values) or "")
        elif each.keyword == "FROM":
            if reached:
                break
            words = each.text.split()
            reference = _expanded(words[0], values) if words else None
            platform = each.flags.get("platform")
            if reference and reference.lower() not in (_SCRATCH, *stages) and "$" not in (platform or ""):
                found[Base(reference=reference, platform=platform)] = None
            stages.append(words[2].lower() if len(words) == 3 else "")
            reached = bool(target) and str(target).lower() in (stages[-1], str(len(stages) - 1))
        for reference in _copied_from(each):
            if "$" not in reference and not reference.isdecimal() and reference.lower() not in (_SCRATCH, *stages):
                found[Base(reference=reference)] = None
    return list(found)


def added_urls(dockerfile: str, arguments: Mapping[str, str]) -> list[tuple[int, str]]:
    """Return the URLs that its ADD instructions name, each with its line: the engine itself fetches them."""
    values: dict[str, str] = {}
    found = []
    for each in instructions(dockerfile):
        if each.keyword == "ARG":
            values |= {
                name: arguments.get(name, value or values.get(name, "")) for name, value in _arguments(each.text)
            }
        elif each.keyword == "ADD":
            words = (_expanded(word.strip(",[]"), values) or "" for word in each.text.split())
            found += [(each.line, word) for word in words if "://" in word]
    return found


def declared_arguments(dockerfile: str) -> set[str]:
    """Return the name of every ARG."""
    return {
        name
        for each in instructions(dockerfile)
        if each.keyword == "ARG"
        for name, _ in _arguments(each.text)
    }  # fmt: skip


def _lines(dockerfile: str) -> list[str]:
    # Not splitlines(): a form feed or a line separator of Unicode ends no line here.
    return [line.removesuffix("\r") for line in dockerfile.removeprefix("\ufeff").split("\n")]


def _directive_lines(lines: list[str]) -> list[str]:
    """The directives on top, which end at the first line of another kind."""
    found: list[str] = []
    for line in lines:
        directive = _DIRECTIVE.fullmatch(line.strip())
        if not directive or directive[1].lower() not in ("syntax", "escape", "check"):
            break
        found.append(line)
    return found


def _directives(lines: list[str]) -> dict[str, str]:
    matches = (_DIRECTIVE.fullmatch(line.strip()) for line in _directive_lines(lines))
    return {match[1].lower(): match[2] for match in matches if match}


def _is_blank(line: str) -> bool:
    return not line.strip() or line.lstrip().startswith("#")


def _split(text: str) -> tuple[str, dict[str, str], str]:
    """Keyword, flags and the rest; of an ONBUILD, those of the instruction that it puts off."""
    keyword, rest = [*text.split(maxsplit=1), ""][:2]
    if keyword.upper() == "ONBUILD" and rest:
        return _split(rest)
    flags: dict[str, str] = {}
    while match := re.match(r"--([a-z][a-z-]*)(?:=(\S*))?(?:\s+|$)", rest):
        flags[match[1]] = ",".join(filter(None, (flags.get(match[1]), match[2] or "")))
        rest = rest[match.end() :]
    return keyword.upper(), flags, rest


def _after_heredocs(lines: list[str], at: int, text: str) -> int:
    """Number of lines up to the end of the heredocs that an instruction opens, in order; ``at`` without any."""
    for match in _HEREDOC.finditer(text):
        delimiter = match[2].strip("\"'")
        for number in range(at, len(lines)):
            if (lines[number].lstrip("\t") if match[1] else lines[number]) == delimiter:
                at = number + 1
                break
    return at


def _is_automatic(instruction: Instruction) -> bool:
    """Whether it reads an argument that BuildKit sets by itself: the classic builder leaves those empty."""
    if instruction.keyword == "FROM":
        return bool(_AUTOMATIC.search(instruction.flags.get("platform", "")))
    declared = _arguments(instruction.text) if instruction.keyword == "ARG" else ()
    return any(_AUTOMATIC.fullmatch(name) and value is None for name, value in declared)


def _arguments(text: str) -> Iterator[tuple[str, str | None]]:
    """Names of an ARG with their defaults."""
    for match in re.finditer(r"""([A-Za-z_]\w*)(?:=("[^"]*"|'[^']*'|\S*))?""", text):
        yield match[1], None if match[2] is None else match[2].strip("\"'")


def _expanded(text: str | None, values: Mapping[str, str]) -> str | None:
    """The text with the values of its variables; None when one is not known."""
    if text is None:
        return None
    known = True

    def value(match: re.Match[str]) -> str:
        nonlocal known
        name, kind, word = match[1] or match[4], match[2], match[3] or ""
        if kind == "-":
            return values.get(name) or word
        if kind == "+":
            return word if values.get(name) else ""
        known = known and bool(values.get(name))
        return values.get(name, "")

    expanded = _VARIABLE.sub(value, text.strip("\"'"))
    return expanded if known else None


def _copied_from(instruction: Instruction) -> Iterator[str]:
    if instruction.keyword == "COPY" and "from" in instruction.flags:
        yield instruction.flags["from"]
    if instruction.keyword == "RUN":
        yield from re.findall(r"(?:^|,)from=([^,]+)", instruction.flags.get("mount", ""))
