"""Who may import whom, and what the packages offer."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[2]
_SOURCE = _ROOT / "src" / "ephemera"
_OURS = ("ephemera", "components", "stacks", "services")


def _imports(folder: Path) -> Iterator[tuple[str, str]]:
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from ((str(path.relative_to(_ROOT)), name.name) for name in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                # `from ephemera import images` imports a room too.
                names = [f"ephemera.{name.name}" for name in node.names] if node.module == "ephemera" else [node.module]
                yield from ((str(path.relative_to(_ROOT)), name) for name in names)


def _when_it_runs(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"):
            yield node
            yield from _when_it_runs(node)


def _within(module: str, allowed: tuple[str, ...]) -> bool:
    return any(module == room or module.startswith(f"{room}.") for room in allowed)


@pytest.mark.parametrize(
    ("folder", "allowed"),
    [
        (_SOURCE / "contract", ("ephemera.contract",)),
        (_SOURCE / "inside", ("ephemera.contract", "ephemera.inside")),
        (_SOURCE / "host", ("ephemera.contract", "ephemera.host")),
        (_SOURCE / "home", ("ephemera.contract", "ephemera.host", "ephemera.home")),
        (_SOURCE / "warm", ("ephemera.contract", "ephemera.host", "ephemera.home", "ephemera.warm")),
        (
            _SOURCE / "resources",
            ("ephemera.contract", "ephemera.host", "ephemera.home", "ephemera.images", "ephemera.resources"),
        ),
        (_ROOT / "components", ("ephemera",)),
        (_ROOT / "stacks", ("ephemera", "stacks")),
    ],
    ids=lambda value: value.name if isinstance(value, Path) else "",
)
def test_room_imports_only_what_it_may(folder: Path, allowed: tuple[str, ...]) -> None:
    found = [
        (path, module) for path, module in _imports(folder) if _within(module, _OURS) and not _within(module, allowed)
    ]
    assert found == []


@pytest.mark.parametrize("folder", ["contract", "resources", "components"])
def test_modules_of_a_room_import_each_other_in_no_circle(folder: str) -> None:
    room = f"ephemera.{folder}"
    graph: dict[str, set[str]] = {}
    for path in (_SOURCE / folder).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and path.stem != "__init__":
                whole = [f"{room}.{name.name}" for name in node.names] if node.module == room else [node.module]
                graph.setdefault(f"{room}.{path.stem}", set()).update(each for each in whole if _within(each, (room,)))
    TopologicalSorter(graph).prepare()  # raises CycleError, with the circle


@pytest.mark.parametrize("room", ["driver", "cli", "plugin", "home", "host", "machine", "images"])
def test_no_room_of_the_driver_imports_a_program(room: str) -> None:
    programs = ("ephemera.resources", "ephemera.components", "stacks")
    manifests = "ephemera.resources.manifests"  # which rehearses a program, and imports Pulumi only then
    found = [(path, module) for path, module in _imports(_SOURCE / room) if _within(module, programs)]
    assert [each for each in found if each[1] != manifests] == []


@pytest.mark.parametrize("room", ["contract", "host", "home", "machine", "images", "warm", "driver", "cli", "plugin"])
def test_no_modules_of_a_room_import_each_other_in_a_circle(room: str) -> None:
    paths = {
        ".".join(path.relative_to(_SOURCE.parent).with_suffix("").parts).removesuffix(".__init__"): path
        for path in (_SOURCE / room).rglob("*.py")
    }
    graph: dict[str, set[str]] = {}
    for module, path in paths.items():
        found = [node for node in _when_it_runs(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
        names = {(str(node.module), f"{node.module}.{name.name}") for node in found for name in node.names}
        graph[module] = {name if name in paths else package for package, name in names} & paths.keys()
    TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("package", ["ephemera", "ephemera.images", "ephemera.components"])
def test_package_offers_what_it_lists(package: str) -> None:
    module = importlib.import_module(package)
    assert len(set(module.__all__)) == len(module.__all__)
    assert all(getattr(module, name, None) is not None for name in module.__all__)


def test_declaring_a_system_imports_no_engine() -> None:
    imported = {module.partition(".")[0] for _, module in _imports(_SOURCE / "contract")}
    assert not imported & {"pulumi", "pulumi_docker", "docker"}
