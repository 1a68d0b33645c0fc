from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from ephemera.home.credentials import credential
from ephemera.model.outputs import EnvironmentOutputs
from ephemera.resources.gates import GateError
from stacks import tasker as stack
from tests.unit.doubles import FakeClient
from tests.unit.programs import OpenGates, Registered
from tests.unit.stacks import systems

Tasker = Callable[..., Registered]


@pytest.fixture
def tasker(docker: FakeClient, gates: OpenGates) -> Tasker:
    return partial(systems.run, stack.tasker, docker)


@pytest.mark.parametrize(
    ("settings", "containers"),
    [
        ({}, ["postgres", "orchestration", "worker"]),
        ({"profiles": ("scale",)}, ["postgres", "orchestration", "worker", "worker-2"]),
        ({"only": ("postgres",)}, ["postgres"]),
        ({"only": ("orchestration",)}, ["postgres", "orchestration"]),
        ({"only": ("worker-2",)}, ["postgres", "orchestration", "worker-2"]),
    ],
)
def test_containers_are_those_that_are_selected(
    tasker: Tasker, gates: OpenGates, settings: dict[str, Any], containers: list[str]
) -> None:
    registered = tasker(**settings)
    assert sorted(registered.names("container:Container")) == sorted(containers)
    assert set(registered.exports["environment"]["services"]) == set(containers)


def test_each_starts_after_what_it_requires_is_ready(tasker: Tasker, gates: OpenGates) -> None:
    tasker(profiles=("scale",))
    order = [asked[0] for asked in gates.asked]
    assert order[:2] == ["postgres", "orchestration"]
    assert sorted(order[2:]) == ["worker", "worker-2"]


@pytest.mark.parametrize(
    ("failing", "made"), [("postgres", {"postgres"}), ("orchestration", {"postgres", "orchestration"})]
)
def test_nothing_is_made_of_what_requires_a_service_that_failed(
    tasker: Tasker, gates: OpenGates, failing: str, made: set[str]
) -> None:
    gates.failures[failing] = GateError(failing, "exited")
    registered = Registered()
    with pytest.raises(GateError):
        tasker(registered=registered, profiles=("scale",))
    assert set(registered.names("container:Container")) == made


def test_services_share_the_database_url(tasker: Tasker, gates: OpenGates) -> None:
    registered = tasker()
    password = credential("tasker-main", "postgres", "password")
    url = f"DATABASE_URL=postgresql://tasker:{password}@postgres:5432/tasker_integration_test"
    assert url in registered.container("orchestration")["envs"]
    assert url in registered.container("worker")["envs"]


def test_options_reach_the_services(tasker: Tasker, gates: OpenGates) -> None:
    registered = tasker({"log_level": "debug", "lease_seconds": 9})
    assert "LOG_LEVEL=debug" in registered.container("orchestration")["envs"]
    assert "TASKER_LEASE_SECONDS=9" in registered.container("worker")["envs"]


def test_workers_have_names_of_their_own_and_only_one_is_published(tasker: Tasker, gates: OpenGates) -> None:
    registered = tasker(profiles=("scale",))
    names = [
        variable
        for worker in ("worker", "worker-2")
        for variable in registered.container(worker)["envs"]
        if variable.startswith("TASKER_WORKER_ID=")
    ]
    assert len(set(names)) == 2
    document = EnvironmentOutputs.parse(registered.exports["environment"])
    assert document.service("worker").endpoint().port == 8081
    assert document.service("worker-2").endpoint().port is None


def test_fixed_ports_are_published_where_the_table_says(tasker: Tasker, gates: OpenGates) -> None:
    document = EnvironmentOutputs.parse(tasker(expose="fixed", port_table="test").exports["environment"])
    published = {name: service.endpoint().url for name, service in document.services.items()}
    assert published == {
        "postgres": "postgresql://127.0.0.1:5432/tasker_integration_test",
        "orchestration": "http://127.0.0.1:8080",
        "worker": "http://127.0.0.1:8081",
    }


def test_every_container_is_checked_and_has_little_memory(tasker: Tasker, gates: OpenGates) -> None:
    registered = tasker(profiles=("scale",))
    for name in registered.names("container:Container"):
        container = registered.container(name)
        assert container["healthcheck"]["interval"], name
        assert container["memory"] <= 512, name
