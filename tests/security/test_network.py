"""Nothing listens beyond loopback, and no packet gets from one environment to another."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from tests.security.vault import FIXED_PORT
from tests.security.world import Watch, World, listening

pytestmark = pytest.mark.timeout(600)
_UDP_PORT = 9953
# Asks every target and prints, by target, what came of it. A UDP answer has to come back, a name has to resolve.
_PROBE = """
import json, socket, sys
from concurrent.futures import ThreadPoolExecutor

def ask(target):
    kind, host, port = target
    try:
        if kind == "dns":
            return "reached " + socket.gethostbyname(host)
        if kind == "tcp":
            socket.create_connection((host, port), timeout=2).close()
            return "reached"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.settimeout(2)
            sender.sendto(b"anybody there", (host, port))
            return "reached" if sender.recv(100) == b"anybody there" else "answered"
    except OSError as error:
        return f"{type(error).__name__} {error}"

targets = json.loads(sys.argv[1])
with ThreadPoolExecutor(32) as pool:
    print(json.dumps(list(pool.map(ask, targets))))
"""
_ECHO = """
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
    server.bind(("", 9953))
    server.settimeout(120)
    print("listening", flush=True)
    while (received := server.recvfrom(100))[0] != b"end":
        server.sendto(*received)
"""
Target = tuple[str, str, int]


def test_nothing_listens_beyond_loopback_while_environments_come_up(world: World) -> None:
    assert world.watch.looks > 10
    assert world.watch.sockets == set(), "engine, plugin and program talk over loopback, Docker publishes there"


def test_published_ports_are_on_the_environments_own_address(world: World) -> None:
    bound = {each.laddr.ip for each in listening() if each.pid and each.laddr.ip.startswith("127.83.")}
    for system in ("tasker", "olav", "data", "vault"):
        published = {binding["HostIp"] for _, _, binding in _published(world, system)}
        assert len(published) == 1
        assert published <= bound


@pytest.mark.parametrize(
    ("mode", "arguments"),
    [("dynamic", ()), ("fixed", ("--port-table", "test")), ("none", ())],
    ids=lambda value: str(value),
)
def test_nothing_listens_beyond_loopback_in_mode(world: World, mode: str, arguments: Sequence[str]) -> None:
    branch = f"mode-{mode}"
    try:
        with Watch(world.watch.ours) as watch:
            world.up(world.vault, "vault", "--branch", branch, "--expose", mode, *arguments)
            bindings = [binding for stack, _, binding in _published(world, "vault") if stack == f"vault-{branch}"]
    finally:
        assert world.vault("down", f"vault-{branch}").code == 0
    assert watch.sockets == set()
    assert {binding["HostIp"] for binding in bindings} == (set() if mode == "none" else {"127.0.0.1"})
    assert mode != "fixed" or bindings[0]["HostPort"] == str(FIXED_PORT)


def test_no_packet_gets_from_one_environment_to_another(world: World) -> None:
    """``vault`` is the attacker, ``tasker`` the target, asked from inside first: so every probe is known to work."""
    targets = _targets(world, "tasker", "worker")
    with _echo(world, f"{world.tasker.stack('tasker')}-worker"):
        inside = _ask(world, f"{world.tasker.stack('tasker')}-worker-2", [target for target, _ in targets])
        reached = {answer.partition(" ")[0] for answer, (_, own) in zip(inside, targets, strict=True) if own}
        assert reached == {"reached"}, "the probe can succeed"
        outside = _ask(world, f"{world.vault.stack('vault')}-vault", [target for target, _ in targets])
        assert [
            f"{target}: {answer}" for (target, _), answer in zip(targets, outside, strict=True) if "reached" in answer
        ] == []
        assert len(targets) >= 20


def test_no_packet_gets_to_another_system_either(world: World) -> None:
    targets = [target for system in ("olav", "data", "vault") for target, _ in _targets(world, system, None)]
    answers = _ask(world, f"{world.tasker.stack('tasker')}-worker", targets)
    # The names of services are the same everywhere: in tasker's network, "postgres" is tasker's own.
    own = {document["Config"]["Hostname"] for document in world.containers("tasker").values()}
    found = [
        f"{target}: {answer}"
        for target, answer in zip(targets, answers, strict=True)
        if "reached" in answer and target[1] not in own
    ]
    assert found == []


def test_containers_do_not_reach_what_listens_on_the_machines_loopback(world: World) -> None:
    ports = sorted(
        {
            each.laddr.port
            for each in listening()
            if each.laddr.ip.startswith("127.") and each.type.name == "SOCK_STREAM"
        }
    )
    everywhere = {each.laddr.port for each in listening() if each.laddr.ip in ("0.0.0.0", "::")}  # noqa: S104 - compared
    container = f"{world.tasker.stack('tasker')}-worker"
    gateway = _gateway(world, container)
    targets = [("tcp", host, port) for port in ports if port not in everywhere for host in (gateway, "127.0.0.1")]
    own = {number for document in world.containers("tasker").values() for number in _ports(document)}
    targets = [target for target in targets if target[1] == gateway or target[2] not in own]
    assert targets
    assert [answer for answer in _ask(world, container, targets) if "reached" in answer] == []


def _targets(world: World, system: str, echoing: str | None) -> list[tuple[Target, bool]]:
    """Everything of ``system`` that could be asked for; whether its own containers reach it."""
    found: list[tuple[Target, bool]] = []
    for name, document in world.containers(system).items():
        address, service = _network(document)["IPAddress"], document["Config"]["Labels"]["ephemera.service"]
        found += [(("tcp", address, number), True) for number in _ports(document)]
        found.append((("udp", address, _UDP_PORT), service == echoing))
        found += [(("dns", name, 0), True), (("tcp", name, _ports(document)[0]), True)]
        if system != "vault" or service != "vault":  # the attacker has a service of that name itself
            found.append((("dns", service, 0), True))
        found.append((("dns", f"{service}.{document['Config']['Labels']['ephemera.stack']}", 0), True))
    for _, _, binding in _published(world, system):
        for host in (binding["HostIp"], *_gateways(world)):
            found.append((("tcp", host, int(binding["HostPort"])), False))
    return found


def _ask(world: World, container: str, targets: Sequence[Target]) -> list[str]:
    done = world.execute(container, ["python3", "-", json.dumps(targets)], _PROBE.encode())
    assert done.returncode == 0, done.stderr
    answers: list[str] = json.loads(done.stdout)
    return answers


@contextmanager
def _echo(world: World, container: str) -> Iterator[None]:
    """A service in the container that sends every datagram back."""
    with subprocess.Popen(["docker", "exec", container, "python3", "-c", _ECHO], stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"listening\n"
        yield
        world.execute(
            container,
            ["python3", "-c", f"import socket; socket.socket(2, 2).sendto(b'end', ('127.0.0.1', {_UDP_PORT}))"],
        )


def _published(world: World, system: str) -> list[tuple[str, str, dict[str, Any]]]:
    """``(stack, container port, binding)`` of every published port of a system."""
    return [
        (document["Config"]["Labels"]["ephemera.stack"], number, binding)
        for document in world.containers(system).values()
        for number, bindings in (document["HostConfig"]["PortBindings"] or {}).items()
        for binding in bindings
    ]


def _ports(document: dict[str, Any]) -> list[int]:
    exposed = document["Config"].get("ExposedPorts") or {}
    return sorted(int(name.partition("/")[0]) for name in exposed)


def _gateway(world: World, container: str) -> str:
    gateway: str = _network(world.containers()[container])["Gateway"]
    return gateway


def _network(document: dict[str, Any]) -> dict[str, Any]:
    """How a container is attached to its environment's network."""
    attached: dict[str, Any] = document["NetworkSettings"]["Networks"][document["Config"]["Labels"]["ephemera.stack"]]
    return attached


def _gateways(world: World) -> list[str]:
    return sorted({_gateway(world, name) for name in world.containers()})
