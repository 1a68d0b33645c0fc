"""Catalogs: whatever a project declares is a system that can be selected from, or one clear error that names it."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ephemera.model import declared
from ephemera.model.catalog import Manifest, Option, Service
from ephemera.model.errors import EphemeraError, InputError
from ephemera.model.settings import CONFIG_KEYS
from ephemera.model.system import System, find_project, load_systems
from tests.fuzz.cases import plain, result_or_error, texts, thousand

_few = st.sampled_from(["db", "api", "web", "worker"])
_counter = itertools.count()

option_sets = st.dictionaries(
    st.sampled_from(["level", "seconds", *CONFIG_KEYS]) | texts,
    st.builds(
        lambda **given: lambda: Option(**given),
        default=plain,
        help=st.just(""),
    )
    | plain.map(lambda value: lambda: value),
    max_size=3,
)
tables = st.dictionaries(
    texts,
    st.dictionaries(
        st.sampled_from(["db.postgres", "api.http", "nobody.http", "db"]) | texts,
        plain | st.integers(1, 70000),
        max_size=3,
    )
    | plain,
    max_size=2,
)


def _made(given: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name: part() for name, part in given.items()}


def _system(given: Mapping[str, Any]) -> System:
    """As a project's module would make it."""
    options = given.get("options")
    made = {**given, "options": _made(options)} if isinstance(options, dict) else given
    return System("shop", **made)


def _usable(system: Any) -> None:
    if isinstance(system, EphemeraError):
        assert isinstance(system, InputError)
        return
    for name, option in system.options.items():
        assert name not in CONFIG_KEYS
        assert isinstance(option.default, {"string": str, "boolean": bool, "integer": int}[option.type])


@thousand
@given(st.fixed_dictionaries({}, optional={"options": option_sets, "runner": plain}))
def test_any_declaration_is_a_system_or_one_clear_error(given: dict[str, Any]) -> None:
    _usable(result_or_error(lambda: _system(given)))


@thousand
@given(tables)
def test_any_table_of_fixed_ports_is_one_or_one_clear_error(tables: Any) -> None:
    found = result_or_error(lambda: declared.check_tables(tables, ["db", "api"]))
    assert found is None or isinstance(found, InputError)
    if found is None:
        for endpoint, port in (pair for table in tables.values() for pair in table.items()):
            assert endpoint.partition(".")[0] in ("db", "api")
            assert 1 <= port <= 65535


@thousand
@given(
    st.fixed_dictionaries({}, optional=dict.fromkeys(("suite", "options", "exceptions", "seed", "description"), plain))
)
def test_any_value_of_any_field_is_a_system_or_one_clear_error(given: dict[str, Any]) -> None:
    _usable(result_or_error(lambda: _system(given)))


@thousand
@given(
    st.lists(_few, min_size=1, max_size=4, unique=True), st.lists(texts | _few, max_size=3), st.lists(texts, max_size=2)
)
def test_any_selection_is_services_or_one_clear_error(names: list[str], only: list[str], profiles: list[str]) -> None:
    chain = {name: Service(requires=tuple(names[:at])) for at, name in enumerate(names)}
    system = Manifest(suite="tests", services=chain)
    found = result_or_error(lambda: system.selected(only=only, profiles=profiles))
    if not isinstance(found, EphemeraError):
        assert set(found) <= set(names)


_MODULES = [
    "SYSTEMS = {}",
    "SYSTEMS = []",
    "SYSTEMS = None",
    "SYSTEMS = {'shop': 1}",
    "SYSTEMS = {1: 2}",
    "SYSTEMS = {None: None}",
    "SYSTEMS = {'Shop!': 1}",
    "OTHERS = {}",
    "SYSTEMS = {",
    "import nothing_of_that_name",
    "raise RuntimeError('no')",
    "raise SystemExit(7)",
    "1 / 0",
    "import sys; sys.exit()",
    "assert False",
    "def f(): return f()\nf()",
    "from ephemera import System\nSYSTEMS = [System()]",
    "from ephemera import System\nSYSTEMS = System('shop')",
    "\0",
    "# -*- coding: nonsense -*-",
]


@thousand
@given(
    st.sampled_from(_MODULES) | texts, st.sampled_from(["{}:SYSTEMS", "{}", "{}:", ":SYSTEMS", "{}:__name__"]) | texts
)
def test_any_module_is_a_catalog_or_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, reference: str
) -> None:
    name = f"fuzzed_catalog_{next(_counter)}"
    project = tmp_path / name
    project.mkdir()
    (project / f"{name}.py").write_text(source, errors="surrogatepass")
    (project / "pyproject.toml").write_text(_toml(reference.replace("{}", name)), errors="surrogatepass")
    before = list(sys.path)
    try:
        found = result_or_error(lambda: load_systems(project))
        assert isinstance(found, Mapping | InputError)
    finally:
        sys.path[:] = before
        sys.modules.pop(name, None)


@thousand
@given(
    st.binary(max_size=200)
    | st.sampled_from([b"[tool]\nephemera = 3", b"[tool.ephemera]\ncatalog = 3", b"\xff", b"tool = []"])
)
def test_any_project_file_is_a_project_or_one_clear_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "Pulumi.yaml").write_text("name: shop\nruntime: python\n")
    (tmp_path / "pyproject.toml").write_bytes(content)
    result_or_error(lambda: find_project(tmp_path))
    assert isinstance(result_or_error(lambda: load_systems(tmp_path)), Mapping | InputError)


def _toml(reference: str) -> str:
    escaped = "".join(f"\\U{ord(character):08x}" for character in reference)
    return f'[tool.ephemera]\ncatalog = "{escaped}"\n'
