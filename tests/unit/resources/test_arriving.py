"""Every argument that a program changes reaches the container: Pulumi and the provider see it, or are told of it.

What the provider does with each property is read from its schema (``toolchain/docker-plugin/schema.json``): a change of
one with ``willReplaceOnChanges`` makes a new container, unless it is gone and the provider keeps it (``required`` among
the outputs: it reads what is not given back from the engine). It updates a few in place. All else would be lost, so it
has to be in the replacement trigger.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pulumi
import pytest
from pulumi.runtime import mocks

from ephemera import Container, Environment, Exec, HealthCheck, Port, Volume
from ephemera.components import OneShot, OpenSearch, Postgres, Redis, WebService
from ephemera.model.data import NO_DATA
from ephemera.model.errors import InputError
from ephemera.model.images import EngineImage, PublicImage
from tests.unit import programs
from tests.unit.doubles import IDENTITY, FakeClient
from tests.unit.programs import OpenGates, Registered

_SCHEMA = Path(__file__).parents[3] / "toolchain" / "docker-plugin" / "schema.json"
_IN_PLACE = {"memory", "memorySwap", "destroyGraceSeconds", "mustRun"}
"""What the provider's update, or its delete, takes from the new properties (``resourceDockerContainerUpdate``)."""
_KEPT_WHEN_EMPTY = {"user"}
"""What it keeps without its schema saying so (a ``DiffSuppressFunc``)."""
_OUTPUTS_ONLY = {
    "ready",
    "health",
    "timeout_seconds",
    "needs",
    "wants",
    "pids",
    "credentials",
    "engine_capabilities",
    "data",
}
"""What no container's property holds: the program sees to it at every ``up``."""
_ELSEWHERE = {"name", "opts", "profile", "required", "source"}
"""What is Pulumi's, the manifest's and development mode's."""
_IMAGE, _OTHER = EngineImage(name="postgres"), PublicImage(reference="docker.io/library/nats:2")
_READY = Exec(["true"])
_HEALTH = HealthCheck(command=["true"], interval_seconds=5, timeout_seconds=5, retries=3, start_period_seconds=5)
_OTHER_HEALTH: dict[str, Any] = {
    "command": ["false"],
    "interval_seconds": 0.5,
    "timeout_seconds": 3600,
    "retries": 1,
    "start_period_seconds": 0,
}

Given = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Change:
    """Arguments before and after, each as what a program makes in its environment."""

    before: Callable[[Environment], Given]
    after: Callable[[Environment], Given]


def _change(before: Given, after: Given) -> Change:
    return Change(lambda _: before, lambda _: after)


def _volumes(environment: Environment) -> Given:
    return {"volumes": {"/shared": Volume("shared"), "/own": "own"}}


def _needs(environment: Environment) -> Given:
    return {"needs": [Container("other", image=_IMAGE, ready=_READY)]}


# By argument: what is changed, given and removed.
_CONTAINER: dict[str, list[Change]] = {
    "image": [_change({"image": _IMAGE}, {"image": _OTHER})],
    "ready": [_change({"ready": _READY}, {"ready": Exec(["false"])})],
    "timeout_seconds": [_change({}, {"timeout_seconds": 5.0})],
    "ports": [
        _change({}, {"ports": {"web": Port(80)}}),
        _change({"ports": {"web": Port(80)}}, {}),
        _change({"ports": {"web": Port(80)}}, {"ports": {"web": Port(81)}}),
        _change({"ports": {"a": Port(80)}}, {"ports": {"a": Port(80), "b": Port(81)}}),
    ],
    "variables": [
        _change({"variables": {"A": 1}}, {"variables": {"A": 2}}),
        _change({"variables": {"A": 1, "B": 1}}, {"variables": {"A": 1}}),
        _change({"variables": {"A": 1}}, {}),
        _change({}, {"variables": {"A": ""}}),
    ],
    "command": [
        _change({"command": ["a"]}, {"command": ["b"]}),
        _change({"command": ["a"]}, {}),
        _change({}, {"command": ["a"]}),
        _change({"command": ["a"]}, {"command": ["a", ""]}),
        _change({"command": ["a", ""]}, {"command": ["a"]}),
        _change({"command": ["a", ""]}, {}),
    ],
    "healthcheck": [
        _change({}, {"healthcheck": _HEALTH}),
        _change({"healthcheck": _HEALTH}, {}),
        *(
            _change({"healthcheck": _HEALTH}, {"healthcheck": dataclasses.replace(_HEALTH, **{name: value})})
            for name, value in _OTHER_HEALTH.items()
        ),
    ],
    "needs": [Change(lambda _: {}, _needs)],
    "wants": [Change(lambda _: {}, lambda environment: {"wants": _needs(environment)["needs"]})],
    "volumes": [Change(lambda _: {}, _volumes), Change(_volumes, lambda _: {})],
    "tmpfs": [
        _change({}, {"tmpfs": {"/tmp": "size=65m"}}),  # noqa: S108 - in the container
        _change({}, {"tmpfs": {}}),
        _change({"tmpfs": {"/a": "exec"}}, {"tmpfs": {"/a": ""}}),
        _change({"tmpfs": {"/a": ""}}, {"tmpfs": {"/b": ""}}),
    ],
    "memory_mb": [_change({"memory_mb": 64}, {"memory_mb": 65})],
    "cpus": [_change({"cpus": 0.05}, {"cpus": 0.5})],
    "pids": [_change({"pids": 5}, {"pids": 6})],
    "run_as": [
        _change({"run_as": "1"}, {"run_as": "2"}),
        _change({"run_as": "1"}, {}),
        _change({}, {"run_as": "1"}),
    ],
    "capabilities": [
        _change({}, {"capabilities": {"CHOWN": "why"}}),
        _change({"capabilities": {"CHOWN": "why"}}, {}),
        _change({"capabilities": {"CHOWN": "why"}}, {"capabilities": {"KILL": "why"}}),
    ],
    "writable_root_reason": [
        _change({}, {"writable_root_reason": "why"}),
        _change({"writable_root_reason": "why"}, {}),
    ],
    "root_reason": [_change({"run_as": "1"}, {"run_as": "0", "root_reason": "why"})],
    "stop_grace_seconds": [
        _change({}, {"stop_grace_seconds": 5}),
        _change({"stop_grace_seconds": 5}, {"stop_grace_seconds": 6}),
        _change({"stop_grace_seconds": 5}, {}),
    ],
    "publish": [
        _change({"ports": {"web": Port(80)}}, {"ports": {"web": Port(80)}, "publish": False}),
    ],
    "credentials": [_change({}, {"credentials": {"a": "b"}})],
    "engine_capabilities": [_change({}, {"engine_capabilities": {"a": "b"}})],
    "data": [_change({}, {"data": NO_DATA})],
}
_WITH_IMAGE = {"image": _IMAGE}
_SERVER = {**_WITH_IMAGE, "database": "shop", "user": "shop"}
_WEB = {**_WITH_IMAGE, "package": "shop", "port": 80}
_MORE_MEMORY = {"memory_mb": [_change({"memory_mb": 2000}, {"memory_mb": 3000})]}
# By component: what it cannot do without, and the changes of arguments that are its own or mean something else there.
_COMPONENTS: dict[Any, tuple[Given, dict[str, list[Change]]]] = {
    Container: ({**_WITH_IMAGE, "ready": _READY}, {}),
    OneShot: (_WITH_IMAGE, {}),
    WebService: (
        _WEB,
        {
            "package": [_change({}, {"package": "other.shop"})],
            "port": [_change({}, {"port": 81})],
            "health": [_change({}, {"health": "/ready"})],
            "start_period_seconds": [_change({}, {"start_period_seconds": 0.5})],
            "stop_grace_seconds": [_change({}, {"stop_grace_seconds": 0})],
        },
    ),
    Redis: (_WITH_IMAGE, {"persistent": [_change({}, {"persistent": True}), _change({"persistent": True}, {})]}),
    Postgres: (
        _SERVER,
        {
            **_MORE_MEMORY,
            "parameters": [_change({}, {"parameters": ["a=b"]}), _change({"parameters": ["a=b"]}, {})],
            # With data of another one they are refused, see below.
            "database": [_change({}, {"database": "other"})],
            "user": [_change({}, {"user": "other"})],
        },
    ),
    OpenSearch: (
        _WITH_IMAGE,
        {
            **_MORE_MEMORY,
            "persistent": [_change({}, {"persistent": False}), _change({"persistent": False}, {})],
            "settings": [_change({}, {"settings": {"a": False}}), _change({"settings": {"a": 1}}, {})],
            "heap_mb": [_change({}, {"heap_mb": 256})],
        },
    ),
}


@dataclasses.dataclass(frozen=True)
class Made:
    """A run: what the container was given, its replacement trigger, and what was asked or offered besides."""

    inputs: Given
    trigger: str
    besides: Any


@pytest.fixture
def make(docker: FakeClient, gates: OpenGates, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Made]:
    """Run a program with one component."""
    for reference in programs.REFERENCES.values():
        docker.api.images[reference] = "app"
    triggers: dict[str, str] = {}
    register: Any = mocks.MockMonitor.RegisterResource

    def noting(self: Any, request: Any) -> Any:
        if request.type.endswith("container:Container"):
            triggers[request.name] = str(request.replacement_trigger)
        return register(self, request)

    monkeypatch.setattr(mocks.MockMonitor, "RegisterResource", noting)

    def run(component: Any, given: Callable[[Environment], Given]) -> Made:
        gates.asked.clear()

        def program() -> None:
            environment = programs.environment()
            component("it", **{**_COMPONENTS[component][0], **given(environment)})
            pulumi.export("document", environment.document())

        registered = programs.run(program)
        asked = [each[2:4] for each in gates.asked if each[0] == "it"]
        document = registered.exports["document"]["services"]["it"]
        needs = "other" in registered.names("container:Container")
        limit = docker.api.process_limits["it-id"]
        return Made(registered.container("it"), triggers["it"], [asked, document, needs, limit])

    return run


def _lost(before: Made, after: Made) -> list[str]:
    """Properties whose change reaches no container."""
    resource = json.loads(_SCHEMA.read_text())["resources"]["docker:index/container:Container"]
    if before.trigger != after.trigger:
        return []
    changed = {key for key in {**before.inputs, **after.inputs} if before.inputs.get(key) != after.inputs.get(key)}
    gone = {key for key in changed if not after.inputs.get(key)}
    kept = (set(resource["required"]) | _KEPT_WHEN_EMPTY) & gone
    return sorted(changed - _IN_PLACE - (_replacing() - kept))


def _replacing() -> set[str]:
    """Properties of which every change makes a new container, of their parts as well."""
    schema = json.loads(_SCHEMA.read_text())
    found = set()
    for key, each in schema["resources"]["docker:index/container:Container"]["inputProperties"].items():
        reference = each.get("$ref") or each.get("items", {}).get("$ref")
        parts = schema["types"][reference.removeprefix("#/types/")]["properties"].values() if reference else ()
        if all(part.get("willReplaceOnChanges") for part in (each, *parts)):
            found.add(key)
    return found


def _changes(component: Any) -> dict[str, list[Change]]:
    """Changes by argument: of a component, those that its class has, with a default of its own or anew."""
    own = _COMPONENTS[component][1]
    return _CONTAINER if component is Container else own


def _cases() -> list[Any]:
    return [
        pytest.param(component, name, change, id=f"{component.__name__}-{name}-{number}")
        for component in _COMPONENTS
        for name, each in _changes(component).items()
        for number, change in enumerate(each)
    ]


@pytest.mark.parametrize("component", _COMPONENTS, ids=lambda component: component.__name__)
def test_every_argument_is_tried(component: Any) -> None:
    inherited = {} if component is Container else _CONTAINER
    tried = {*_changes(component), *inherited, *_ELSEWHERE}
    assert tried == {field.name for field in dataclasses.fields(component) if field.init}


@pytest.mark.parametrize(("component", "name", "change"), _cases())
def test_changed_argument_arrives(make: Callable[..., Made], component: Any, name: str, change: Change) -> None:
    before, after = make(component, change.before), make(component, change.after)
    assert before != after
    assert _lost(before, after) == []
    if before.inputs == after.inputs:
        assert name in _OUTPUTS_ONLY
    assert make(component, change.after) == after  # and nothing else changes at the next one


@pytest.mark.parametrize(("variable", "value"), [("POSTGRES_DB", "old"), ("POSTGRES_USER", "old")])
def test_database_and_user_that_existing_data_does_not_have_are_refused(
    docker: FakeClient, gates: OpenGates, variable: str, value: str
) -> None:
    now = {"POSTGRES_DB": "shop", "POSTGRES_USER": "shop", variable: value}
    container = f"{IDENTITY.stack}-db"
    registered = Registered()

    def program() -> None:
        programs.environment()
        Postgres("db", database="shop", user="shop", image=_IMAGE)

    docker.api.images["ephemera/image-0:1"] = "app"
    docker.api.documents[container] = {"Config": {"Env": [f"{name}={each}" for name, each in now.items()]}}
    with pytest.raises(InputError, match="is 'shop', and its data was created with 'old'"):
        programs.run(program, registered=registered)
    assert registered.names("volume:Volume") == []
    docker.api.documents[container] = {"Config": {"Env": ["POSTGRES_DB=shop", "POSTGRES_USER=shop"]}}
    assert programs.run(program).names("volume:Volume") == ["db-data"]
