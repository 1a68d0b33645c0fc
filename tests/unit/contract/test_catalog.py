from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ephemera.contract.catalog import Service, System, find_project, find_system, load_catalog
from ephemera.contract.errors import InputError, UnknownNameError
from tests.unit.doubles import SHOP

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


@pytest.mark.parametrize(
    ("only", "profiles", "selected"),
    [
        ((), (), ("db", "api", "worker")),
        ((), ("scale",), ("db", "api", "worker", "extra")),
        ((), ("lab", "scale"), ("db", "api", "worker", "extra", "lab")),
        (("db",), (), ("db",)),
        (("worker",), (), ("db", "api", "worker")),
        (("worker", "db"), (), ("db", "api", "worker")),
        (("extra",), (), ("db", "extra")),
        (("api",), ("lab",), ("db", "api", "lab")),
        (("lab",), ("scale",), ("db", "extra", "lab")),
    ],
)
def test_selected_services_with_what_they_require(
    only: tuple[str, ...], profiles: tuple[str, ...], selected: tuple[str, ...]
) -> None:
    assert SHOP.selected(only=only, profiles=profiles) == selected


def test_unknown_service_or_profile_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="unknown service 'wroker': did you mean 'worker'"):
        SHOP.selected(only=["wroker"])
    with pytest.raises(UnknownNameError, match=r"unknown profile 'big'.*known: lab, scale"):
        SHOP.selected(profiles=["big"])


def test_services_that_require_each_other_are_refused() -> None:
    services = {
        "one": Service(requires=("two",)),
        "two": Service(requires=("three",)),
        "three": Service(requires=("one",)),
    }
    with pytest.raises(InputError, match=r"require each other: (one|two|three) → "):
        System(program="a:b", suite="s", services=services)


def test_service_cannot_require_what_is_not_declared() -> None:
    with pytest.raises(UnknownNameError, match="service required by 'api' 'dbb'"):
        System(program="a:b", suite="s", services={"db": Service(), "api": Service(requires=("dbb",))})


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
        ("[tool]\nephemera = 1\n", "names no catalog"),
        ('tool = "x"\n', "names no catalog"),
        ("[tool.ephemera]\ncatalog = 3\n", "names no catalog"),
    ],
)
def test_broken_project_file_is_refused_by_name(project: MakeProject, text: str, message: str) -> None:
    root = project()
    (root / "pyproject.toml").write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        load_catalog(root)
    assert str(root / "pyproject.toml") in caught.value.message


def test_catalog_is_imported_with_the_projects_folder_first(project: MakeProject) -> None:
    root = project(
        "from ephemera.contract.catalog import System\n"
        "SYSTEMS = {'shop': System(program='x:y', suite='s', services={})}"
    )
    catalog = load_catalog(root)
    assert list(catalog) == ["shop"]
    assert sys.path[0] == str(root)
    assert load_catalog(root) is catalog


@pytest.mark.parametrize(
    ("text", "reference", "message"),
    [
        ("SYSTEMS = []", "{module}:SYSTEMS", "is a list: it must be a Mapping"),
        ("SYSTEMS = {'shop': 3}", "{module}:SYSTEMS", r"\['shop'\] is a int: it must be a System"),
        ("SYSTEMS = {'Shop': 3}", "{module}:SYSTEMS", "system name 'Shop' is not valid"),
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
        load_catalog(root)


def test_program_is_imported_only_when_it_is_loaded(project: MakeProject) -> None:
    root = project("def program(environment): return None\nNUMBER = 3")
    sys.path.insert(0, str(root))
    module = next(path.stem for path in root.glob("catalog_*.py"))
    system = System(program=f"{module}:program", suite="s", services={})
    assert module not in sys.modules
    assert system.load().__name__ == "program"
    with pytest.raises(InputError, match="is a int: it must be a Callable"):
        System(program=f"{module}:NUMBER", suite="s", services={}).load()


def test_unknown_system_is_refused_with_the_nearest() -> None:
    assert find_system({"shop": SHOP}, "shop") is SHOP
    with pytest.raises(UnknownNameError, match="unknown system 'shp': did you mean 'shop'"):
        find_system({"shop": SHOP}, "shp")
