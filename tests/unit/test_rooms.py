"""Who may import whom, how large a folder is, and what the packages offer."""

from __future__ import annotations

import ast
import importlib
from collections import Counter
from collections.abc import Iterator, Mapping
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[2]
_SOURCE = _ROOT / "src" / "ephemera"
_ORDER = (
    "model",
    "host",
    "home",
    "docker",
    "setup",
    "images",
    "resources",
    "warm",
    "pulumi",
    "observe",
    "lifecycle",
    "inside",
    "in_network",
    "pytest_plugin",
    "cli",
)
"""The rooms: each imports those above it, and itself."""
_LESS = {
    "setup": ("model", "host", "home", "docker"),
    "warm": ("model", "host", "home"),
    "inside": ("model",),
}
"""Rooms that import fewer: they run before anything is installed, start fast, or run where nothing else is."""
_PROGRAMS = ("ephemera.resources", "ephemera.components", "components", "stacks")
_MANIFESTS = "ephemera.resources.manifests"
"""It rehearses a program, and imports Pulumi only then."""
_MOST_MODULES = 16


def _modules(folder: Path) -> Mapping[str, Path]:
    """Return the modules of ours in a folder, by dotted name."""
    return {
        ".".join(path.relative_to(_SOURCE.parent).with_suffix("").parts).removesuffix(".__init__"): path
        for path in folder.rglob("*.py")
        if not path.is_relative_to(_SOURCE / "components")
    }


_ALL = _modules(_SOURCE)


def _imported(path: Path) -> Iterator[str]:
    """Yield what a module imports when it runs, also late: modules of ours by dotted name, others as they are."""
    for node in _when_it_runs(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for name in node.names:
                whole = f"{node.module}.{name.name}"
                yield whole if whole in _ALL else node.module


def _when_it_runs(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"):
            yield node
            yield from _when_it_runs(node)


def _rooms_of(names: Iterator[str]) -> set[str]:
    return {parts[1] for name in names if (parts := name.split("."))[0] == "ephemera" and len(parts) > 1}


def test_every_folder_is_a_room() -> None:
    found = {path.parent.name for path in _SOURCE.glob("*/__init__.py")}
    assert found - {"components"} == set(_ORDER)


@pytest.mark.parametrize("room", _ORDER)
def test_room_imports_only_rooms_above_it(room: str) -> None:
    allowed = {*_LESS.get(room, _ORDER[: _ORDER.index(room)]), room}
    found = {name: _rooms_of(_imported(path)) - allowed for name, path in _modules(_SOURCE / room).items()}
    # `from ephemera import __version__` imports no room.
    assert {name: rooms for name, rooms in found.items() if rooms - {"__version__"}} == {}


@pytest.mark.parametrize("room", [room for room in _ORDER if room != "resources"])
def test_no_other_room_imports_a_program(room: str) -> None:
    for name, path in _modules(_SOURCE / room).items():
        programs = [each for each in _imported(path) if each.startswith(_PROGRAMS) and each != _MANIFESTS]
        assert programs == [], name


@pytest.mark.parametrize("folder", ["components", "stacks"])
def test_what_projects_are_made_of_imports_the_front_door_and_little_else(folder: str) -> None:
    for path in (_ROOT / folder).glob("*.py"):
        rooms = _rooms_of(_imported(path))
        assert rooms <= {"model", "host", "resources", "components"}, path


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {name: {each for each in _imported(path) if each in _ALL} - {name} for name, path in _ALL.items()}
    # Their names import their modules when they are used first.
    del graph["ephemera"]
    TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("room", [*_ORDER, "components"])
def test_a_folder_can_be_taken_in_at_a_glance(room: str) -> None:
    modules = [path.name for path in (_SOURCE / room).glob("*.py") if path.name != "__init__.py"]
    assert len(modules) <= _MOST_MODULES, modules


def test_no_two_modules_have_one_name() -> None:
    modules = [path.stem for path in (*_ALL.values(), *(_ROOT / "components").glob("*.py"))]
    counted = Counter(stem for stem in modules if not stem.startswith("__"))
    assert [stem for stem, count in counted.items() if count > 1] == []


@pytest.mark.parametrize("package", ["ephemera", "ephemera.images", "ephemera.lifecycle", "ephemera.components"])
def test_package_offers_what_it_lists(package: str) -> None:
    module = importlib.import_module(package)
    assert len(set(module.__all__)) == len(module.__all__)
    assert all(getattr(module, name, None) is not None for name in module.__all__)


def test_declaring_a_system_imports_no_engine() -> None:
    imported = {name.partition(".")[0] for path in _modules(_SOURCE / "model").values() for name in _imported(path)}
    assert not imported & {"pulumi", "pulumi_docker", "docker"}
