"""Every argument of every component: plain values that cannot work are refused in one line, and nothing is created."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from ephemera import Container
from ephemera.components import OneShot, OpenSearch, Postgres, Redis, WebService
from ephemera.contract.errors import InputError
from ephemera.contract.images import EngineImage
from tests.unit import programs
from tests.unit.doubles import FakeClient
from tests.unit.programs import OpenGates, Registered

_IMAGE = EngineImage(name="postgres")
_NUMBERS = (None, "5", True, math.nan, math.inf, 0, -1)
_IMAGES = (None, "Not A Reference", 5)
_VARIABLES = (None, ["A=1"], {"": "x"}, {"A=B": "x"}, {"A": None}, {"A": ["x"]})
_CREDENTIALS = (None, ["x"], {"": "x"}, {"a": None})
_NEEDS = (None, "db", ["db"])
_LIMITS = {"memory_mb": (*_NUMBERS, 5.5), "cpus": _NUMBERS}

# By component: its arguments, those that it cannot do without, and what is refused.
_COMPONENTS: dict[Any, tuple[dict[str, Any], dict[str, tuple[Any, ...]]]] = {
    OneShot: (
        {"image": _IMAGE},
        {
            **_LIMITS,
            "image": _IMAGES,
            "command": ("make it", [], [None]),
            "variables": _VARIABLES,
            "needs": _NEEDS,
            "timeout_seconds": _NUMBERS,
            "volumes": (None, {"/data": 5}, {"data": "data"}),
            "run_as": ("root", "", 1000),
            "credentials": _CREDENTIALS,
        },
    ),
    WebService: (
        {"image": _IMAGE, "package": "shop", "port": 80},
        {
            **_LIMITS,
            "image": _IMAGES,
            "health": (None, "", "health", 5),
            "package": (None, "a b", "a.", "a-b", 5),
            "port": (*_NUMBERS, 65536, 80.0),
            "variables": _VARIABLES,
            "needs": _NEEDS,
            "start_period_seconds": (None, "5", True, math.nan, math.inf, -1, 0.0001),
            "publish": (None, 1, "no"),
            "stop_grace_seconds": (None, "5", True, -1, 0.5),
            "credentials": _CREDENTIALS,
        },
    ),
    Redis: (
        {"image": _IMAGE},
        {
            "image": _IMAGES,
            "persistent": (None, 1, "yes"),
            "variables": (*_VARIABLES, {"REDISCLI_AUTH": "mine"}),
            "memory_mb": _LIMITS["memory_mb"],
        },
    ),
    Postgres: (
        {"image": _IMAGE, "database": "shop", "user": "shop"},
        {
            "database": (None, "", "Shop", "a-b", "a" * 64, 5),
            "user": (None, "", "Shop", "a b", "pg_mine"),
            "image": _IMAGES,
            "parameters": (None, "a=b", ["max_connections"], [5], ["=5"]),
            "memory_mb": _LIMITS["memory_mb"],
        },
    ),
    OpenSearch: (
        {"image": _IMAGE},
        {
            "image": _IMAGES,
            "persistent": (None, 1, "yes"),
            "settings": (*_VARIABLES, {"OPENSEARCH_JAVA_OPTS": "-Xmx1g"}, {"DISABLE_SECURITY_PLUGIN": "false"}),
            "heap_mb": (*_NUMBERS, 2000),
            "memory_mb": _LIMITS["memory_mb"],
            "cpus": _NUMBERS,
        },
    ),
}


@pytest.mark.parametrize("component", _COMPONENTS, ids=lambda component: component.__name__)
def test_every_argument_has_values_that_are_refused(component: Any) -> None:
    inherited = {field.name for field in dataclasses.fields(Container)}
    own = {field.name for field in dataclasses.fields(component)} - inherited
    assert own <= set(_COMPONENTS[component][1])


@pytest.mark.parametrize(
    ("component", "name", "value"),
    [
        pytest.param(component, name, value, id=f"{component.__name__}-{name}-{number}")
        for component, (_, refused) in _COMPONENTS.items()
        for name, values in refused.items()
        for number, value in enumerate(values)
    ],
)
def test_value_that_cannot_work_is_refused_in_one_line(
    docker: FakeClient, gates: OpenGates, component: Any, name: str, value: Any
) -> None:
    docker.api.images["ephemera/image-0:1"] = "app"
    needed, _ = _COMPONENTS[component]
    registered = Registered()

    def program() -> None:
        programs.environment()
        component("it", **{**needed, name: value})

    with pytest.raises(InputError) as refused:
        programs.run(program, registered=registered)
    assert "\n" not in str(refused.value)
    assert "it" in refused.value.message
    assert refused.value.remedy
    assert registered.names("container:Container") == []
