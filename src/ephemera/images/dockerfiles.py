"""What a build has to know of a Dockerfile beforehand: its stages, its images, and whether BuildKit is needed.

Split as Docker's own parser does: directives on top, comments, continued lines, heredocs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_DIRECTIVE = re.compile(r"#\s*(syntax|escape|check)\s*=\s*(.+?)\s*", re.IGNORECASE)
_HEREDOC = re.compile(r"(?:^|\s)\d*<<(-?)([^<\s]+)")
_VARIABLE = re.compile(r"\$(?:\{(\w+)(?::([-+])([^}]*))?\}|(\w+))")
_ARGUMENT = re.compile(r"""([A-Za-z_]\w*)(?:=("[^"]*"|'[^']*'|\S*))?""")
_AUTOMATIC = re.compile(r"(?:TARGET|BUILD)(?:PLATFORM|OS|ARCH|VARIANT)|TARGETSTAGE")
_OFFICIAL_FRONTEND = re.compile(r"(?:docker\.io/)?docker/dockerfile(?:-upstream)?(?:[:@].*)?")
_BUILDKIT_FLAGS: Mapping[str, frozenset[str]] = {
    "RUN": frozenset({"mount", "network", "security", "device"}),
    "COPY": frozenset({"chmod", "link", "parents", "exclude"}),
    "ADD": frozenset({"chmod", "link", "checksum", "keep-git-dir", "exclude", "unpack"}),
    "HEALTHCHECK": frozenset({"start-interval"}),
}
_WITH_HEREDOCS = ("RUN", "COPY", "ADD")


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


def instructions(dockerfile: str) -> list[Instruction]:
    """Return every instruction, in order."""
    lines = _lines(dockerfile)
    _, escape = _directives(lines).get("escape", (0, "\\"))
    goes_on = re.compile(re.escape(escape) + r"[ \t]*$")
    found = []
    at = 0
    while at < len(lines):
        if _is_blank(lines[at]):
            at += 1
            continue
        first, text, continues = at, "", True
        while continues and at < len(lines):
            line = lines[at]
            at += 1
            if not _is_blank(line):  # neither an empty line nor a comment ends an instruction
                continued = goes_on.search(line)
                continues = continued is not None
                text += line[: continued.start()] if continued else line
        keyword, flags, text = _split(text)
        end = _after_heredocs(lines, at, text) if keyword in _WITH_HEREDOCS else at
        given = Instruction(line=first + 1, end=end, keyword=keyword, flags=flags, text=text, heredoc=end != at)
        found.append(given)
        at = end
    return found


def labelled(dockerfile: str, marks: Mapping[str, str]) -> str:
    """Return the Dockerfile with these labels in every stage, so that whatever a build leaves behind carries them."""
    label = "LABEL " + " ".join(f'{key}="{value}"' for key, value in marks.items())
    lines = dockerfile.split("\n")
    for each in reversed(instructions(dockerfile)):
        if each.keyword == "FROM":
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
    return f"`# syntax={named_frontend}`" if named_frontend and not is_official(named_frontend) else ""


def frontend(dockerfile: str) -> str:
    """Return the image that its ``# syntax=`` line names; empty without one."""
    _, named = _directives(_lines(dockerfile)).get("syntax", (0, ""))
    return named


def is_official(named: str) -> bool:
    """Return whether a frontend is Docker's own: every BuildKit has one of those built in."""
    return _OFFICIAL_FRONTEND.fullmatch(named) is not None


def without_frontend(dockerfile: str) -> str:
    """Return the Dockerfile with its ``# syntax=`` line made a plain comment: lines keep their numbers."""
    lines, directives = dockerfile.split("\n"), _directives(_lines(dockerfile))
    if "syntax" in directives:
        number, _ = directives["syntax"]
        del lines[number]
        lines.insert(len(directives) - 1, "#")  # a comment above an escape directive would disable it
    return "\n".join(lines)


def bases(dockerfile: str, arguments: Mapping[str, str], target: str | None) -> dict[str, str | None]:
    """Return the images that its stages up to ``target`` start or copy from, as far as their names are known, each with
    the platform that the Dockerfile asks for."""
    values: dict[str, str] = {}
    stages: list[str] = []
    found: dict[str, str | None] = {}
    last = target.lower() if target else None
    for each in instructions(dockerfile):
        if each.keyword == "FROM" and stages and last in (stages[-1], str(len(stages) - 1)):
            break
        for reference, platform in _images_of(each, values):
            is_stage = reference.isdecimal() or reference.lower() in stages
            if reference and "$" not in reference + platform and not is_stage and reference.lower() != "scratch":
                found.setdefault(reference, platform or None)
        if each.keyword == "FROM":
            words = each.text.lower().split()
            stages.append(words[2] if len(words) == 3 else "")
        elif each.keyword == "ARG" and not stages:
            for name, value in _arguments(each):
                values[name] = arguments.get(name, _expanded(value or "", values))
    return found


def added_urls(dockerfile: str, arguments: Mapping[str, str]) -> list[tuple[int, str]]:
    """Return the URLs that its ADD instructions name, each with its line: the engine itself fetches them."""
    values: dict[str, str] = {}
    found = []
    for each in instructions(dockerfile):
        for name, value in _arguments(each):
            values[name] = arguments.get(name, value or values.get(name, ""))
        if each.keyword == "ADD":
            words = (_expanded(word.strip(",[]"), values) for word in each.text.split())
            found += [(each.line, word) for word in words if "://" in word]
    return found


def declared_arguments(dockerfile: str) -> set[str]:
    """Return the name of every ARG."""
    return {name for each in instructions(dockerfile) for name, _ in _arguments(each)}


def _lines(dockerfile: str) -> list[str]:
    # Not splitlines(): a form feed or a line separator of Unicode ends no line here.
    return [line.removesuffix("\r") for line in dockerfile.removeprefix("\ufeff").split("\n")]


def _directives(lines: list[str]) -> dict[str, tuple[int, str]]:
    """Return line and value of the directives on top, which end at the first line of another kind."""
    found: dict[str, tuple[int, str]] = {}
    for number, line in enumerate(lines):
        directive = _DIRECTIVE.fullmatch(line.strip())
        if not directive:
            break
        found[directive[1].lower()] = (number, directive[2])
    return found


def _is_blank(line: str) -> bool:
    return not line.strip() or line.lstrip().startswith("#")


def _split(text: str) -> tuple[str, dict[str, str], str]:
    """Return keyword, flags and the rest; of an ONBUILD, those of the instruction that it defers."""
    keyword, rest = [*text.split(maxsplit=1), ""][:2]
    if keyword.upper() == "ONBUILD" and rest:
        return _split(rest)
    flags: dict[str, str] = {}
    while match := re.match(r"--([a-z][a-z-]*)(?:=(\S*))?(?:\s+|$)", rest):
        flags[match[1]] = ",".join(filter(None, (flags.get(match[1]), match[2] or "")))
        rest = rest[match.end() :]
    return keyword.upper(), flags, rest


def _after_heredocs(lines: list[str], at: int, text: str) -> int:
    """Return the number of lines up to the end of the heredocs that an instruction opens; ``at`` without any."""
    for match in _HEREDOC.finditer(text):
        delimiter = match[2].strip("\"'")
        for number in range(at, len(lines)):
            if (lines[number].lstrip("\t") if match[1] else lines[number]) == delimiter:
                at = number + 1
                break
    return at


def _is_automatic(instruction: Instruction) -> bool:
    """Return whether it reads an argument that BuildKit sets by itself: the classic builder leaves those empty."""
    if instruction.keyword == "FROM":
        return bool(_AUTOMATIC.search(instruction.flags.get("platform", "")))
    return any(_AUTOMATIC.fullmatch(name) and value is None for name, value in _arguments(instruction))


def _arguments(instruction: Instruction) -> Iterator[tuple[str, str | None]]:
    """Yield the names of an ARG with their defaults."""
    for match in _ARGUMENT.finditer(instruction.text) if instruction.keyword == "ARG" else ():
        yield match[1], None if match[2] is None else match[2].strip("\"'")


def _expanded(text: str, values: Mapping[str, str]) -> str:
    """Return the text with the values of its variables; one that is not known stays as it is."""

    def value(match: re.Match[str]) -> str:
        known, kind, word = values.get(match[1] or match[4]), match[2], match[3] or ""
        if kind == "+":
            return word if known else ""
        return known or (word if kind else match[0])

    return _VARIABLE.sub(value, text.strip("\"'"))


def _images_of(instruction: Instruction, values: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield what an instruction starts or copies from, an image or a stage, with the platform that it asks for."""
    if instruction.keyword == "FROM":
        for reference in instruction.text.split()[:1]:
            yield _expanded(reference, values), instruction.flags.get("platform", "")
    elif instruction.keyword == "COPY" and "from" in instruction.flags:
        yield instruction.flags["from"], ""
    elif instruction.keyword == "RUN":
        for reference in re.findall(r"(?:^|,)from=([^,]+)", instruction.flags.get("mount", "")):
            yield reference, ""
