"""Arguments that components add or read: bad plain values are refused in one line, and nothing is created."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from ephemera import Container
from ephemera.components import OpenSearch, Postgres, Redis, WebService
from ephemera.model.errors import InputError
from ephemera.model.images import EngineImage
from tests.unit import programs
from tests.unit.doubles import FakeClient
from tests.unit.programs import OpenGates, Registered

_IMAGE = EngineImage(name="postgres")
_NUMBERS = (None, "5", True, math.nan, math.inf, 0, -1)
_IMAGES = (None, "Not A Reference", 5)
_VARIABLES = (None, ["A=1"], {"": "x"}, {"A=B": "x"}, {"A": None}, {"A": ["x"]})
_MEMORY = (*_NUMBERS, 5.5)

# By component: the arguments that it requires, and those of its own, or that it reads, with values that are refused.
_COMPONENTS: dict[Any, tuple[dict[str, Any], dict[str, tuple[Any, ...]]]] = {
    WebService: (
        {"image": _IMAGE, "package": "shop", "port": 80},
        {
            "health": (None, "", "health", 5),
            "package": (None, "a b", "a.", "a-b", 5),
            "port": (*_NUMBERS, 65536, 80.0),
            "start_period_seconds": (None, "5", True, math.nan, math.inf, -1, 0.0001),
        },
    ),
    Redis: ({"image": _IMAGE}, {"persistent": (None, 1, "yes"), "variables": ({"REDISCLI_AUTH": "mine"},)}),
    Postgres: (
        {"image": _IMAGE, "database": "shop", "user": "shop"},
        {
            "database": (None, "", "Shop", "a-b", "1a", "a;b", "a\n", "ü", "a" * 64, 5),
            "user": (None, "", "Shop", "a b", "pg_mine"),
            "parameters": (None, "a=b", ["max_connections"], [5], ["=5"]),
            "memory_mb": _MEMORY,
        },
    ),
    OpenSearch: (
        {"image": _IMAGE},
        {
            "image": _IMAGES,
            "persistent": (None, 1, "yes"),
            "settings": (*_VARIABLES, {"OPENSEARCH_JAVA_OPTS": "-Xmx1g"}, {"DISABLE_SECURITY_PLUGIN": "false"}),
            "heap_mb": (*_NUMBERS, 2000),
            "memory_mb": _MEMORY,
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
