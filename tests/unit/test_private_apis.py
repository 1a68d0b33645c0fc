"""What is used of other packages although they promise nothing of it: exactly this, to be looked at with an update."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from pulumi import automation

_SOURCE = Path(__file__).resolve().parents[2] / "src" / "ephemera"

_USED = {
    # The SDK's own client of the engine, to have the plugin started and functions of providers noticed.
    "pulumi/child.py": {"pulumi.runtime.settings.get_monitor", "pulumi.runtime.proto.resource_pb2"},
    # docker-py builds with the classic builder alone, and sends it every credential that the user has.
    "images/building.py": {"api._post", "api._raise_for_status", "api._stream_helper", "api._url"},
    # There is no public way to list the keys of a stack's config.
    "resources/program.py": {"pulumi.runtime.config"},
    # The settings of mocks outlive the program that they were set for.
    "resources/rehearsal.py": {"pulumi.runtime.settings.SETTINGS", "pulumi.runtime.stack.run_pulumi_func"},
}
_PUBLIC = {  # of Pulumi's runtime, by its documentation
    *("pulumi.runtime.is_dry_run", "pulumi.runtime.get_root_resource", "pulumi.runtime.register_stack_transformation"),
    *("pulumi.runtime.mocks", "pulumi.runtime.set_mocks", "pulumi.runtime.set_all_config"),
}
_OF_PYTHON = {"os._exit", "sys._getframe", "sys._xoptions", "parts._replace"}


def _private(tree: ast.AST) -> Iterator[str]:
    """Names with an underscore of anything but an object's own, and names of Pulumi's runtime."""
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.module.startswith("ephemera"):
            names = [f"{node.module}.{each.name}" for each in node.names]
        elif isinstance(node, ast.Attribute):
            name = ast.unparse(node)
            own = name.startswith(("self.", "cls.")) or node.attr.startswith("__")
            if name.startswith("pulumi.runtime.") or (node.attr.startswith("_") and not own):
                yield name
        for name in names:
            if name.startswith("pulumi.runtime") or any(part[0] == "_" != part[1] for part in name.split(".")):
                yield name


def test_exactly_these_are_used() -> None:
    found: dict[str, set[str]] = {}
    for path in _SOURCE.rglob("*.py"):
        names = set(_private(ast.parse(path.read_text()))) - _PUBLIC - _OF_PYTHON
        longest = {name for name in names if not any(other.startswith(f"{name}.") for other in names)}
        if longest:
            found[str(path.relative_to(_SOURCE))] = longest
    assert found == {**_USED, "host/processes.py": {"leader._in_table"}}


@pytest.mark.parametrize("name", sorted(name for names in _USED.values() for name in names if "pulumi" in name))
def test_it_is_there(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    assert hasattr(importlib.import_module(module), attribute)


@pytest.mark.parametrize("name", sorted(_USED["images/building.py"]))
def test_docker_py_has_it(name: str) -> None:
    assert callable(getattr(docker.APIClient, name.removeprefix("api.")))


def test_a_stack_asks_the_cli_for_nothing_but_what_is_overridden() -> None:
    """``pulumi/child.py`` answers these itself: another call in ``up`` would be one more process."""
    source = ast.parse(Path(str(automation.Stack.up.__code__.co_filename)).read_text())
    up = next(node for node in ast.walk(source) if isinstance(node, ast.FunctionDef) and node.name == "up")
    asked = {
        node.func.attr
        for node in ast.walk(up)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "self"
    }
    assert {name for name in asked if not name.startswith("_")} == {"outputs", "info"}
