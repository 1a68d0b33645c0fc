"""Catalogs: whatever a project declares is a system that can be selected from, or one clear error that names it."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ephemera.contract.catalog import Option, Service, System, find_project, load_catalog
from ephemera.contract.errors import EphemeraError, InputError
from ephemera.contract.settings import CONFIG_KEYS, read_settings
from tests.fuzz.cases import plain, result_or_error, texts, thousand

_names = st.sampled_from(["db", "api", "web", "worker"]) | texts
_few = st.sampled_from(["db", "api", "web", "worker"])
_counter = itertools.count()

services = st.dictionaries(
    _names,
    st.builds(
        lambda **given: lambda: Service(**given),
        requires=st.lists(_few, max_size=3).map(tuple) | plain,
        profile=st.none() | st.sampled_from(["scale", "lab"]) | plain,
        required=st.booleans(),
    )
    | plain.map(lambda value: lambda: value),
    max_size=4,
)
option_sets = st.dictionaries(
    st.sampled_from(["level", "seconds", *CONFIG_KEYS]) | texts,
    st.builds(
        lambda **given: lambda: Option(**given),
        type=st.sampled_from(["string", "boolean", "integer"]) | plain,
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
    """As a catalog's module would make it."""
    made = {
        key: _made(part) if key in ("services", "options") and isinstance(part, dict) else part
        for key, part in given.items()
    }
    fields: dict[str, Any] = {"program": "shop:program", "suite": "tests", **made}
    return System(**fields)


def _usable(system: Any) -> None:
    if isinstance(system, EphemeraError):
        assert isinstance(system, InputError)
        return
    everything = system.selected(profiles=system.profiles)
    assert set(everything) == set(system.services)
    order = {name: position for position, name in enumerate(_in_order(system))}
    for name, service in system.services.items():
        assert isinstance(service, Service)
        assert all(order[needed] < order[name] for needed in service.requires), "there is an order to start in"
        assert set(service.requires) <= set(system.selected(only=[name]))
    for name, option in system.options.items():
        assert name not in CONFIG_KEYS
        assert isinstance(option.default, {"string": str, "boolean": bool, "integer": int}[option.type])
    for table in system.fixed_ports.values():
        for endpoint, port in table.items():
            assert endpoint.partition(".")[0] in system.services
            assert 1 <= port <= 65535
    assert read_settings({"shop": system}, "shop-main", {}).system == "shop"


def _in_order(system: System) -> list[str]:
    done: list[str] = []
    while len(done) < len(system.services):
        ready = [name for name, one in system.services.items() if name not in done and set(one.requires) <= set(done)]
        assert ready, "a cycle"
        done += ready
    return done


@thousand
@given(st.fixed_dictionaries({"services": services}, optional={"options": option_sets, "fixed_ports": tables}))
@example({"services": {"a": lambda: Service(requires=("b",)), "b": lambda: Service(requires=("a",))}})
@example({"services": {"a": lambda: Service(requires=("a",))}})
@example({"services": {}, "memory_mb": 10**400, "cpus": 10**400})
@example({"services": {"a": lambda: Service(requires="a")}})  # type: ignore[arg-type]
def test_any_declaration_is_a_system_or_one_clear_error(given: dict[str, Any]) -> None:
    _usable(result_or_error(lambda: _system(given)))


@thousand
@given(
    st.fixed_dictionaries(
        {"services": plain | services},
        optional=dict.fromkeys(
            ("program", "suite", "images", "memory_mb", "cpus", "options", "fixed_ports", "exceptions", "seed"), plain
        ),
    )
)
def test_any_value_of_any_field_is_a_system_or_one_clear_error(given: dict[str, Any]) -> None:
    _usable(result_or_error(lambda: _system(given)))


@thousand
@given(
    st.lists(_few, min_size=1, max_size=4, unique=True), st.lists(texts | _few, max_size=3), st.lists(texts, max_size=2)
)
def test_any_selection_is_services_or_one_clear_error(names: list[str], only: list[str], profiles: list[str]) -> None:
    chain = {name: Service(requires=tuple(names[:at])) for at, name in enumerate(names)}
    system = System(program="shop:program", suite="tests", services=chain)
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
    "from ephemera.contract.catalog import System\nSYSTEMS = {'shop': System()}",
    "from ephemera.contract.catalog import System\nSYSTEMS = {'shop': System(program='x', suite='y', services={})}",
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
        found = result_or_error(lambda: load_catalog(project))
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
    assert isinstance(result_or_error(lambda: load_catalog(tmp_path)), Mapping | InputError)


def _toml(reference: str) -> str:
    escaped = "".join(f"\\U{ord(character):08x}" for character in reference)
    return f'[tool.ephemera]\ncatalog = "{escaped}"\n'
