"""Secret options: the program has plain values, and Pulumi's state holds none of them in the clear."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pulumi
import pytest

from ephemera import Container, Environment, Exec, HealthCheck
from ephemera.model.settings import Settings
from tests.unit import programs
from tests.unit.doubles import IDENTITY, SHOP
from tests.unit.programs import REFERENCES, OpenGates, Registered

_TOKEN = "hush-hush"  # noqa: S105 - what is looked for
_OPTIONS: dict[str, str | bool | int] = {"level": _TOKEN, "seconds": 4711, "verbose": True, "pin": 20}

Given = Callable[[], Mapping[str, Any]]


def _run(given: Given, *secret: str, beneath: bool = False) -> tuple[Registered, list[Any]]:
    """Run a program with one container; what it registered, and the secrets in its outputs."""
    exported: list[Any] = []

    def program() -> None:
        environment = Environment(
            identity=IDENTITY,
            manifest=SHOP,
            settings=Settings(system="shop", branch="main", expose="none", options=_OPTIONS),
            resolve=REFERENCES.__getitem__,
            secret_options=frozenset(secret),
        )
        own = {"image": next(iter(REFERENCES)), "ready": Exec(["true"]), "run_as": "65534"}
        opts = pulumi.ResourceOptions(parent=environment) if beneath else None
        Container("api", opts=opts, **{**own, **given()})
        secrets: Any = programs.secrets_in(environment.document())
        pulumi.Output.from_input(secrets).apply(exported.extend)

    return programs.run(program), exported


def _secret_inputs(registered: Registered) -> set[str]:
    return {key for name, key in registered.secrets if name == "api"}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (lambda: _TOKEN, _TOKEN),
        (lambda: f"postgresql://shop:{_TOKEN}@db/shop", f"postgresql://shop:{_TOKEN}@db/shop"),
        (lambda: pulumi.Output.concat("Bearer ", _TOKEN), f"Bearer {_TOKEN}"),
        (lambda: "4711", "4711"),
    ],
    ids=["whole", "part", "output", "integer"],
)
def test_variable_with_a_secret_option_in_it_is_secret(
    gates: OpenGates, value: Callable[[], pulumi.Input[str]], text: str
) -> None:
    registered, exported = _run(lambda: {"variables": {"TOKEN": value()}}, "level", "seconds")
    assert _secret_inputs(registered) == {"envs"}
    assert f"TOKEN={text}" in registered.container("api")["envs"]
    assert exported == []


def test_short_one_is_secret_where_it_is_the_whole_value(gates: OpenGates) -> None:
    for value, found in (("20", {"envs"}), ("2020", set()), ("a20b", set())):
        registered, exported = _run(lambda value=value: {"variables": {"PIN": value}}, "pin")  # type: ignore[misc]
        assert _secret_inputs(registered) == found
        assert exported == []


def test_other_inputs_are_secret_likewise(gates: OpenGates) -> None:
    times = {"interval_seconds": 1, "timeout_seconds": 1, "retries": 1, "start_period_seconds": 1}
    health = HealthCheck(command=["ask", f"--token={_TOKEN}"], **times)
    given = {"command": ["serve", f"--token={_TOKEN}"], "healthcheck": health}
    registered, _ = _run(lambda: given, "level")
    assert _secret_inputs(registered) == {"command", "healthcheck"}
    assert registered.container("api")["command"] == given["command"]
    assert _secret_inputs(_run(lambda: given, "level", beneath=True)[0]) == {"command", "healthcheck"}


def test_outputs_with_a_secret_option_in_them_are_secret(gates: OpenGates) -> None:
    probe = Exec(["ask", f"--token={_TOKEN}"])
    given = {"credentials": {"token": _TOKEN, "user": "shop"}, "ready": probe}
    _, exported = _run(lambda: given, "level")
    assert exported == [_TOKEN, ["ask", f"--token={_TOKEN}"]]


def test_options_that_are_no_secret_mark_nothing(gates: OpenGates) -> None:
    given = {"variables": {"LEVEL": _TOKEN, "VERBOSE": "True"}, "credentials": {"token": _TOKEN}}
    for secret in ((), ("seconds",), ("verbose",)):
        registered, exported = _run(lambda: given, *secret)
        assert _secret_inputs(registered) == set()
        assert exported == []
