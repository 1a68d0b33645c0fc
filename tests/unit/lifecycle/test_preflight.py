from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ephemera.docker import ports
from ephemera.lifecycle.bring_up import _check_ports
from ephemera.model.errors import InputError, PortInUseError
from ephemera.model.settings import Settings
from tests.unit.doubles import SHOP, FakeClient, marks


@pytest.fixture(autouse=True)
def _held(docker: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Port 18080, the table's of ``api``, is held."""
    monkeypatch.setattr(ports, "is_free", lambda _, port, *__: port != 18080)
    monkeypatch.setattr(ports, "holder", lambda *_: None)


def _check(**given: Any) -> None:
    settings = Settings(**{"system": "shop", "branch": "main", "expose": "fixed", "port_table": "test", **given})
    _check_ports("shop-main", SHOP, settings)


def test_held_port_is_refused_with_service_and_holder(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PortInUseError, match=r"127\.0\.0\.1:18080 for service 'api' is in use by another process"):
        _check()
    monkeypatch.setattr(ports, "holder", lambda *_: "nginx (pid 7)")
    with pytest.raises(PortInUseError, match="nginx"):
        _check()


def test_container_of_another_stack_is_told_by_name(docker: FakeClient) -> None:
    docker.api.add("container", "shop-x-api", marks("shop-x", "b"), Ports=[{"PublicPort": 18080, "Type": "tcp"}])
    with pytest.raises(PortInUseError, match="in use by container shop-x-api"):
        _check()


def test_port_that_is_listed_for_udp_is_looked_for_there(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []

    def is_free(*given: Any) -> bool:
        asked.append(given)
        return True

    monkeypatch.setattr(ports, "is_free", is_free)
    system = replace(SHOP, fixed_ports={"test": {"api.http": 53, "api.dns/udp": 53}})
    _check_ports("shop-main", system, Settings(system="shop", branch="main", expose="fixed", port_table="test"))
    assert asked == [("127.0.0.1", 53, "tcp"), ("127.0.0.1", 53, "udp")]


def test_stack_may_hold_its_own_port(docker: FakeClient) -> None:
    docker.api.add("container", "shop-main-api", marks("shop-main", "b"), Ports=[{"PublicPort": 18080, "Type": "tcp"}])
    _check()


def test_port_of_a_service_that_is_not_selected_does_not_matter() -> None:
    _check(only=("db",))


def test_without_fixed_ports_nothing_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "is_free", lambda *_: pytest.fail("asked"))
    _check(expose="loopback")


def test_ports_that_could_not_be_reached_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://build.example:2376")
    with pytest.raises(InputError, match="cannot be reached from here"):
        _check(expose="auto")
    _check(expose="none")
