"""Every endpoint has a port of its own, known before anything is created, and keeps it."""

from __future__ import annotations

import json
import socket
from typing import Any

import httpx
import pytest

from ephemera.docker.connection import connected
from ephemera.model import labels

from .conftest import Ephemera

_ENDPOINTS = {"web.echo", "web.http", "web.ws", "other.http"}


def _endpoints(ephemera: Ephemera) -> dict[str, dict[str, Any]]:
    services = ephemera("outputs", ephemera.stack("twins")).json["services"]
    return {f"{name}.{key}": each for name, service in services.items() for key, each in service["endpoints"].items()}


def _assert_all_answer(found: dict[str, dict[str, Any]]) -> None:
    assert set(found) == _ENDPOINTS
    for name in _ENDPOINTS - {"web.echo"}:
        url = f"http://{found[name]['host']}:{found[name]['port']}/"
        assert httpx.get(url, timeout=5, trust_env=False).status_code == 200
    with socket.socket(type=socket.SOCK_DGRAM) as asking:
        asking.settimeout(5)
        asking.sendto(b"hello", (found["web.echo"]["host"], found["web.echo"]["port"]))
        assert asking.recv(100) == b"HELLO"


def _containers(ephemera: Ephemera) -> set[str]:
    with connected() as client:
        listed = client.api.containers(all=True, filters={"label": f"{labels.STACK}={ephemera.stack('twins')}"})
        return {item["Id"] for item in listed}


def _restart(ephemera: Ephemera) -> None:
    with connected() as client:
        for container in _containers(ephemera):
            client.api.restart(container, timeout=0)


@pytest.mark.parametrize("expose", ["loopback", "dynamic"])
def test_endpoints_that_share_a_container_port_have_ports_of_their_own(ephemera: Ephemera, expose: str) -> None:
    done = ephemera("up", "twins", "--expose", expose)
    assert done.code == 0, done.err
    found = _endpoints(ephemera)
    _assert_all_answer(found)
    assert found["web.echo"]["url"] == f"udp://{found['web.echo']['host']}:{found['web.echo']['port']}"
    tcp = [found[name]["port"] for name in ("web.http", "web.ws", "other.http")]
    assert len(set(tcp)) == 3
    if expose == "loopback":
        assert [found["web.echo"]["port"], tcp[0]] == [8000, 8000], "TCP and UDP share it, and the first has it"

    before = _containers(ephemera)
    previewed = ephemera.pulumi("preview", "--expect-no-changes", "--stack", ephemera.stack("twins"))
    assert previewed.code == 0, previewed.out + previewed.err
    _restart(ephemera)
    addresses = ephemera.state / "ephemera" / "addresses.json"
    kept = json.loads(addresses.read_text())[ephemera.stack("twins")]["ports"]
    addresses.unlink()
    done = ephemera("up", "twins", "--force")
    assert done.code == 0, done.err
    assert _endpoints(ephemera) == found
    assert _containers(ephemera) == before, "none was replaced"
    assert json.loads(addresses.read_text())[ephemera.stack("twins")]["ports"] == kept
    _assert_all_answer(found)
    assert ephemera("status", ephemera.stack("twins")).code == 0

    assert ephemera("down", ephemera.stack("twins")).code == 0
    assert ephemera.left() == []


def test_fixed_ports_of_both_protocols(ephemera: Ephemera) -> None:
    done = ephemera("up", "twins", "--expose", "fixed", "--port-table", "test")
    assert done.code == 0, done.err
    found = _endpoints(ephemera)
    assert {name: each["port"] for name, each in found.items()} == {
        "web.echo": 28010,
        "web.http": 28010,
        "web.ws": 28011,
        "other.http": 28012,
    }
    _assert_all_answer(found)
    assert ephemera("down", ephemera.stack("twins")).code == 0
    assert ephemera.left() == []
