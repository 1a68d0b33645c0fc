"""Write the reference into a file, from the signatures and docstrings of what projects use: see ``make docs``."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import griffe

from ephemera import pytest_plugin
from ephemera.docker.services import ServiceHandle
from ephemera.pytest_plugin.environments import EnvironmentFactory, RunningEnvironment
from ephemera.pytest_plugin.fresh import Database

ROOT = Path(__file__).resolve().parent.parent
INTRODUCTION = """# Reference

What a project imports from `ephemera` and `ephemera.components`, and what the pytest plugin adds. `make docs` writes
this page from the source: do not edit it. To begin with, read [your own system](your-own-system.md).
"""
INTERNAL = {"account", "answers", "ask", "check", "client", "close", "container", "declare", "end_test", "executing"}
INTERNAL |= {"note", "open", "resource", "seeded"}
USED_BY_PROGRAMS = {"Environment": ["stack", "has", "option", "credential"]}  # the rest of it is for components
MADE_BY_FIXTURES = (RunningEnvironment, EnvironmentFactory, ServiceHandle, Database)


def page() -> Iterator[str]:
    """Yield the page in parts."""
    yield INTRODUCTION
    package: Any = griffe.load("ephemera", search_paths=[ROOT / "src"], allow_inspection=False, try_relative_path=False)
    front = {str(name): package[name].final_target for name in package.exports}
    components = {name: front.pop(name) for name in ("Container", "Volume")}
    components |= {str(name): package["components"][name].final_target for name in package["components"].exports}
    probes = {name: front.pop(name) for name in list(front) if "Probe" in (name, *bases(front[name]))}
    yield "## Components\n\nImport `Container` and `Volume` from `ephemera`, all others from `ephemera.components`.\n"
    yield from entries(components)
    yield '## Probes\n\nA probe asks a service whether it is ready: `ready=Http("/health")`.\n'
    yield from entries(probes)
    yield "## Systems, images, ports\n"
    yield from entries(front)
    yield "## Fixtures\n"
    for each in package[pytest_plugin.__name__.split(".")[1:]].members.values():
        if fixture := re.search(r"pytest\.fixture(?:.*scope='(\w+)')?", decorators(each)):
            yield f"### `{each.name}`\n\nScope: {fixture[1] or 'function'}. {text(each)}\n"
    yield "## What fixtures give\n"
    given = {each.__name__: package[[*each.__module__.split(".")[1:], each.__name__]] for each in MADE_BY_FIXTURES}
    yield from entries(given, made=False)
    command = [sys.executable, "-m", "pytest", "--help"]
    printed = subprocess.check_output(command, env={**os.environ, "COLUMNS": "100"}, cwd=ROOT, text=True)
    options = printed.partition("ephemeral environments:\n")[2].partition("\n\n")[0]
    yield f"## pytest options\n\n```text\n{options}\n```\n"


def entries(objects: dict[str, Any], *, made: bool = True) -> Iterator[str]:
    """Yield what each object is, its arguments if projects make it (``made``), its outputs and methods."""
    for name, each in objects.items():
        yield f"### `{name}`\n\n{text(each)}\n"
        rows = arguments(each) if made and name not in USED_BY_PROGRAMS and not each.is_attribute else {}
        if "Container" in bases(each):
            yield "Takes [the arguments of `Container`](#container) too. Its own, and those with another default:\n"
        if rows:
            yield "\n".join(["| argument | type | default | |", "|---|---|---|---|", *rows.values(), ""])
        for member in public(each) if each.is_class else ():
            called = member.signature() if member.is_function else f"{member.name}: {member.annotation}"
            if member.name not in rows and text(member):
                yield f"`.{called}`: {text(member)}\n".replace(".__call__", "")


def public(kind: Any) -> list[Any]:
    """Return the members of a class that its users see: also those of its bases, which components and probes share."""
    members = kind.members if {"Container", "Probe"} & set(bases(kind)) else kind.all_members
    names = [name for name in members if name == "__call__" or not (name in INTERNAL or name.startswith("_"))]
    shown = [members[name] for name in names if name in USED_BY_PROGRAMS.get(kind.name, names)]
    return [each for each in shown if each.is_function or (each.is_attribute and each.annotation)]


def arguments(each: Any) -> dict[str, str]:
    """Return a row of the table for each argument, by name."""
    fields = [] if each.is_function else [at for at in public(each) if at.is_attribute and "property" not in at.labels]
    found = [(at, at.default) for at in each.parameters if at.name != "self"]
    if each.is_class and "component" in [
        str(at.value) for at in each.decorators
    ]:  # not known to griffe as the dataclass that it is
        found = [(at, at.value) for at in fields if "init=False" not in str(at.value)]
    classes = [*reversed(each.mro()), each] if each.is_class else []
    meaning = {name: text(at) for kind in classes for name, at in kind.members.items() if text(at)}
    rows = {}
    for at, value in found:
        cells = (f"`{at.name}`", f"`{at.annotation}`", default(str(value or ""), each.module), meaning.get(at.name, ""))
        rows[at.name] = "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"
    return rows


def default(text: str, module: Any) -> str:
    """Return a default as Markdown, a private constant by its value; "" if there is none."""
    shown = re.sub(r"^field\((?:default(?:_factory)?=)?(?:lambda: )?(.*?)(?:, )?(?:kw_only=.*)?\)$", r"\1", text)
    for name in re.findall(r"\b_[A-Z]\w*", shown):
        shown = shown.replace(f"dict({name})", name).replace(name, str(module[name].value))
    return f"`{'{}' if shown in ('dict', 'dict()') else shown}`" if shown else ""


def bases(each: Any) -> list[str]:
    return list(map(str, getattr(each, "bases", ())))


def decorators(each: Any) -> str:
    return "" if each.is_alias else " ".join(str(decorator.value) for decorator in getattr(each, "decorators", ()))


def text(each: Any) -> str:
    """Return a docstring as Markdown."""
    said = each.docstring.value if each.docstring else ""
    return re.sub(r":\w+:`~?(?:[\w.]+\.)?(\w+)`", r"`\1`", said).replace("``", "`")


if __name__ == "__main__":
    Path(sys.argv[1]).write_text("\n".join(page()))
