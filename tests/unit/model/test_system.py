from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ephemera.model.errors import InputError
from ephemera.model.system import System, default_system, find_project, load_systems

_numbers = itertools.count()

MakeProject = Callable[..., Path]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeProject]:
    """Makes a project whose catalog module has the given text; what it imports is forgotten afterwards."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)

    def make(module_text: str = "SYSTEMS = {}", reference: str = "{module}:SYSTEMS") -> Path:
        module = f"catalog_{next(_numbers)}"
        (tmp_path / f"{module}.py").write_text(module_text)
        (tmp_path / "Pulumi.yaml").write_text("name: shop\nruntime: python\n")
        named = reference.format(module=module)
        (tmp_path / "pyproject.toml").write_text(f'[tool.ephemera]\ncatalog = "{named}"\n')
        return tmp_path

    yield make
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_project_is_found_from_any_folder_in_it(project: MakeProject) -> None:
    root = project()
    inside = root / "a" / "b"
    inside.mkdir(parents=True)
    (root / "a" / "Pulumi.yaml").write_text("name: not-ours\n")
    assert find_project(inside) == root
    assert find_project(root) == root


def test_folder_outside_every_project_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no ephemera project in .* or above it"):
        find_project(tmp_path)


def test_pulumi_project_without_a_catalog_is_no_project_of_ours(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.yaml").write_text("name: other\n")
    (tmp_path / "pyproject.toml").write_text("[tool.ruff]\nline-length = 1\n")
    with pytest.raises(InputError, match="no ephemera project"):
        find_project(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[tool.ephemera\n", "is not valid TOML"),
    ],
)
def test_broken_project_file_is_refused_by_name(project: MakeProject, text: str, message: str) -> None:
    root = project()
    (root / "pyproject.toml").write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        load_systems(root)
    assert str(root / "pyproject.toml") in caught.value.message


def test_catalog_is_imported_with_the_projects_folder_first(project: MakeProject) -> None:
    root = project("from ephemera import System\nSYSTEMS = [System('shop')]")
    assert list(load_systems(root)) == ["shop"]
    assert sys.path[0] == str(root)


@pytest.mark.parametrize(
    ("text", "reference", "message"),
    [
        ("SYSTEMS = 3", "{module}:SYSTEMS", "is a int: it must be a System"),
        ("SYSTEMS = [3]", "{module}:SYSTEMS", "a system of .* is 3: it must be a System"),
        (
            "from ephemera import System\nSYSTEMS = [System('Shop')]",
            "{module}:SYSTEMS",
            "system name 'Shop' is not valid",
        ),
        ("from ephemera import System\nSYSTEMS = [System('a'), System('a')]", "{module}:SYSTEMS", "two systems 'a'"),
        ("", "{module}:SYSTEMS", "cannot be imported"),
        ("", "no_such_module_here:SYSTEMS", "cannot be imported"),
        ("import no_such_module_here", "{module}:SYSTEMS", "cannot be imported"),
        ("", "{module}", "module:NAME"),
        ("", ":SYSTEMS", "module:NAME"),
        ("", ".x:SYSTEMS", "module:NAME"),
    ],
)
def test_catalog_of_the_wrong_kind_is_refused(project: MakeProject, text: str, reference: str, message: str) -> None:
    root = project(text, reference)
    with pytest.raises(InputError, match=message):
        load_systems(root)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"suite": 3}, "suite is 3"),
        ({"options": {"level": "info"}}, r"options\['level'\] is 'info': it must be an Option"),
        ({"exceptions": {"web.root": 3}}, r"exceptions\['web.root'\] is 3"),
        ({"runner": "tests"}, "runner is 'tests'"),
    ],
)
def test_argument_that_cannot_work_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        System("shop", **given)


def test_project_of_two_files_tells_its_systems_and_runs_none(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.yaml").write_text("name: shop\nruntime: python\n")
    (tmp_path / "__main__.py").write_text("from ephemera import System, run\nrun(System('shop'), System('bank'))\n")
    assert find_project(tmp_path) == tmp_path
    assert list(load_systems(tmp_path)) == ["shop", "bank"]


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("# ephemera\n", "runs no system: end it with ephemera.run"),
        ("import ephemera\n1 / 0\n", r"ZeroDivisionError.*__main__.py:2"),
        ("import ephemera\nraise SystemExit(3)\n", "SystemExit: 3"),
        ("import ephemera\nephemera.run(3)\n", "it must be a System"),
    ],
)
def test_program_that_cannot_be_read_is_refused(tmp_path: Path, program: str, message: str) -> None:
    (tmp_path / "Pulumi.yaml").write_text("name: shop\nruntime: python\n")
    (tmp_path / "__main__.py").write_text(program)
    with pytest.raises(InputError, match=message):
        load_systems(tmp_path)


def test_default_system_is_the_only_one_or_the_configured_one(project: MakeProject) -> None:
    root = project()
    assert default_system(root, ["shop"]) == "shop"
    with pytest.raises(InputError, match="this project has several systems: shop, bank: name one"):
        default_system(root, ["shop", "bank"])
    (root / "pyproject.toml").write_text('[tool.ephemera]\nsystem = "bank"\n')
    assert default_system(root, ["shop", "bank"]) == "bank"
