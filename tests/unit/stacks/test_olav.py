from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pytest

from ephemera.home.credentials import credential
from ephemera.model.outputs import EnvironmentOutputs
from ephemera.resources.gates import GateError
from stacks import olav as stack
from tests.unit.doubles import FakeClient
from tests.unit.programs import OpenGates, Registered
from tests.unit.stacks import systems

EVERYTHING = {"postgres", "opensearch", "redis", "llm", "olav-init", "olav-server"}
WITHOUT_GRAPH = {"postgres", "redis", "olav-init", "olav-server"}

Olav = Callable[..., Registered]


@pytest.fixture
def olav(docker: FakeClient, gates: OpenGates) -> Olav:
    return partial(systems.run, stack.olav, docker)


def variables(registered: Registered, service: str) -> Mapping[str, str]:
    return dict(variable.split("=", 1) for variable in registered.container(service)["envs"])


@pytest.mark.parametrize(
    ("settings", "containers"),
    [
        ({}, EVERYTHING),
        ({"profiles": ("testing",)}, EVERYTHING),
        ({"only": ("olav-server",)}, WITHOUT_GRAPH),
        ({"only": ("olav-server", "opensearch", "llm")}, EVERYTHING),
        ({"only": ("olav-init",)}, WITHOUT_GRAPH - {"olav-server"}),
        ({"only": ("llm",)}, {"llm"}),
        ({"only": ("opensearch", "redis")}, {"opensearch", "redis"}),
    ],
)
def test_containers_are_those_that_are_selected(olav: Olav, settings: dict[str, Any], containers: set[str]) -> None:
    registered = olav(**settings)
    assert set(registered.names("container:Container")) == containers
    assert set(registered.exports["environment"]["services"]) == containers


def test_init_comes_after_all_that_it_fills_and_before_the_server(olav: Olav, gates: OpenGates) -> None:
    olav()
    order = [asked[0] for asked in gates.asked]
    assert order[-2:] == ["olav-init", "olav-server"]
    assert set(order[:-2]) == EVERYTHING - set(order[-2:])


@pytest.mark.parametrize("failing", ["postgres", "opensearch", "redis", "llm", "olav-init"])
def test_there_is_no_server_without_what_it_uses(olav: Olav, gates: OpenGates, failing: str) -> None:
    gates.failures[failing] = GateError(failing, "exited")
    registered = Registered()
    with pytest.raises(GateError):
        olav(registered=registered)
    assert "olav-server" not in registered.names("container:Container")


def test_server_and_init_are_given_where_everything_is(olav: Olav) -> None:
    registered = olav()
    for service in ("olav-init", "olav-server"):
        given = variables(registered, service)
        password = credential("olav-main", "postgres", "password")
        assert given["DATABASE_URL"] == f"postgresql://olav:{password}@postgres:5432/olav"
        assert given["REDIS_URL"] == f"redis://:{credential('olav-main', 'redis', 'password')}@redis:6379/0"
        assert given["OPENSEARCH_URL"] == "http://opensearch:9200"
        assert given["LLM_BASE_URL"] == "http://llm:8080/v1"
        assert given["LLM_API_KEY"] == variables(registered, "llm")["LLM_DOUBLE_KEY"]


@pytest.mark.parametrize("only", [("olav-server",), ("olav-server", "opensearch"), ("olav-server", "llm")])
def test_without_search_or_model_the_server_is_told_of_neither(olav: Olav, only: tuple[str, ...]) -> None:
    registered = olav(only=only)
    for service in ("olav-init", "olav-server"):
        assert not {"OPENSEARCH_URL", "LLM_BASE_URL"} & set(variables(registered, service))


def test_only_init_knows_the_passwords_of_the_seed_users(olav: Olav) -> None:
    registered = olav()
    names = {f"OLAV_{role}_PASSWORD" for role in ("ADMIN", "OPERATOR", "VIEWER")}
    assert names <= set(variables(registered, "olav-init"))
    assert not names & set(variables(registered, "olav-server"))
    assert len({variables(registered, "olav-init")[name] for name in names}) == len(names)


def test_options_reach_the_services(olav: Olav) -> None:
    registered = olav({"log_level": "debug", "environment": "development", "workers": 2})
    given = variables(registered, "olav-server")
    assert (given["LOG_LEVEL"], given["ENVIRONMENT"], given["OLAV_WORKERS"]) == ("debug", "development", "2")
    assert variables(registered, "olav-init")["ENVIRONMENT"] == "development"


@pytest.mark.parametrize("table", stack.olav.fixed_ports)
def test_fixed_ports_are_published_where_the_table_says(olav: Olav, table: str) -> None:
    document = EnvironmentOutputs.parse(olav(expose="fixed", port_table=table).exports["environment"])
    published = {
        f"{service}.{name}": endpoint.port
        for service, outputs in document.services.items()
        for name, endpoint in outputs.endpoints.items()
    }
    assert published == stack.olav.fixed_ports[table]


def test_every_server_is_checked_and_all_have_little_memory(olav: Olav) -> None:
    registered = olav()
    for name in EVERYTHING - {"olav-init"}:
        assert registered.container(name)["healthcheck"]["interval"], name
    assert sum(registered.container(name)["memory"] for name in EVERYTHING - {"olav-init"}) <= 3584
