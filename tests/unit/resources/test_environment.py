from __future__ import annotations

from typing import Any

import pulumi
import pytest
from requests.exceptions import HTTPError

from ephemera.docker import forwarder, ports
from ephemera.docker.exposure import Exposure
from ephemera.home import addresses
from ephemera.home.credentials import credential
from ephemera.model import labels
from ephemera.model.errors import InputError, MachineError, PortInUseError, UnknownNameError
from ephemera.model.images import EngineImage
from ephemera.model.progress import Event
from ephemera.resources import docker_host
from tests.unit import programs
from tests.unit.doubles import IDENTITY, FakeClient, marks
from tests.unit.programs import OpenGates, Registered

_POSTGRES = EngineImage(name="postgres")
_PICKED = range(61_001, 65_536)


def _asked(ask: Any, *, preview: bool = False, **settings: Any) -> Any:
    """What ``ask`` finds in an environment inside a program."""
    answers = []
    programs.run(lambda: answers.append(ask(programs.environment(**settings))), preview=preview)
    return answers[0]


def test_network_is_named_and_labelled_like_the_stack(gates: OpenGates) -> None:
    registered = programs.run(lambda: programs.environment())
    network = registered.inputs("network:Network", "network")
    allocation = addresses.lookup(IDENTITY.stack)
    assert allocation is not None
    assert network["name"] == "shop-main"
    assert network["driver"] == "bridge"
    assert network["ipamConfigs"] == [{"subnet": allocation.subnet}]
    assert {item["label"]: item["value"] for item in network["labels"]} == IDENTITY.labels()


def test_live_network_of_the_stack_keeps_its_subnet(docker: FakeClient, gates: OpenGates) -> None:
    own = {"IPAM": {"Config": [{"Subnet": "10.213.3.0/28"}]}}
    docker.api.add("network", "shop-main", marks("shop-main", IDENTITY.backend), **own)
    registered = programs.run(lambda: programs.environment())
    assert registered.inputs("network:Network", "network")["ipamConfigs"] == [{"subnet": "10.213.3.0/28"}]


def test_networks_of_others_are_avoided_even_with_the_stacks_name(docker: FakeClient, gates: OpenGates) -> None:
    for backend in ("another", None):
        taken = {labels.STACK: "shop-main", labels.BACKEND: backend} if backend else None
        subnet = "10.9.0.0/25" if backend else "10.9.0.128/25"
        docker.api.listed_networks.append({"Name": "x", "Labels": taken, "IPAM": {"Config": [{"Subnet": subnet}]}})
    docker.api.listed_networks.append({"Name": "host", "Labels": {}, "IPAM": {"Config": None}})
    with pytest.raises(MachineError, match="all 16 subnets"):
        programs.run(lambda: programs.environment(subnet_pool="10.9.0.0/24"))


def test_used_up_pool_registers_no_object_of_the_engine(docker: FakeClient, gates: OpenGates) -> None:
    docker.api.add("network", "big", {}, IPAM={"Config": [{"Subnet": "10.0.0.0/8"}]})
    registered = Registered()
    with pytest.raises(MachineError):
        programs.run(lambda: programs.environment(), registered=registered)
    assert registered.names("network:Network") == []


def test_preview_records_no_address(gates: OpenGates) -> None:
    programs.run(lambda: programs.environment(), preview=True)
    assert addresses.lookup(IDENTITY.stack) is None


def test_standard_port_on_the_environments_address(gates: OpenGates) -> None:
    address, host = _asked(lambda env: (env.host.bind, env.host.address("db", "postgres", 5432)))
    assert host == (address, 5432)
    assert address.startswith("127.83.")


def test_held_port_falls_back_to_one_that_is_picked_and_says_so(
    gates: OpenGates, monkeypatch: pytest.MonkeyPatch, events: list[Event]
) -> None:
    monkeypatch.setattr(ports, "is_free", lambda _, port, *__: port != 5432)
    monkeypatch.setattr(ports, "holder", lambda *_: "postgres (pid 7)")
    host = _asked(lambda env: env.host.address("db", "postgres", 5432))
    assert host[1] in _PICKED
    message = f"db.postgres: port 5432 is held by postgres (pid 7), using {host[1]} instead"
    assert {"type": "notice", "message": message} in events
    monkeypatch.setattr(ports, "is_free", lambda *_: True)
    assert _asked(lambda env: env.host.address("db", "postgres", 5432)) == host, "and keeps it"


def _numbers(env: Any, *endpoints: tuple[str, str, int]) -> dict[str, int]:
    return {f"{service}.{name}": env.host.address(service, name, port)[1] for service, name, port in endpoints}


_TWINS = (("web", "http", 8000), ("web", "ws", 8000), ("admin", "http", 8000), ("admin", "metrics", 9000))


def test_endpoints_with_one_container_port_have_a_port_each_and_keep_it(
    gates: OpenGates, monkeypatch: pytest.MonkeyPatch
) -> None:
    predicted = _asked(lambda env: _numbers(env, *_TWINS), preview=True)
    found = _asked(lambda env: _numbers(env, *_TWINS))
    assert (found["web.http"], found["admin.metrics"]) == (8000, 9000), "the first has the standard one"
    assert len(set(found.values())) == 4
    assert {found["web.ws"], found["admin.http"]} <= set(_PICKED)
    assert predicted == found
    assert _asked(lambda env: _numbers(env, *_TWINS)) == found
    assert _asked(lambda env: _numbers(env, *reversed(_TWINS))) == found, "in whichever order they are declared"
    monkeypatch.setattr(ports, "is_free", lambda _, port, *__: port != 8000)
    again = _asked(lambda env: _numbers(env, *_TWINS))
    assert again["web.http"] != 8000, "somebody else has it by now"
    assert {**again, "web.http": 8000} == found


def test_ports_that_a_file_of_before_has_twice_are_told_apart(gates: OpenGates) -> None:
    _asked(lambda env: None)
    for name in ("http", "ws"):
        addresses.pick_port(IDENTITY.stack, f"web.{name}", lambda _: 8000)
    found = _asked(lambda env: _numbers(env, *_TWINS[:2]))
    assert found["web.http"] == 8000
    assert found["web.ws"] in _PICKED


@pytest.mark.parametrize("expose", ["loopback", "dynamic"])
def test_lost_ports_are_those_that_the_container_publishes(
    docker: FakeClient, gates: OpenGates, monkeypatch: pytest.MonkeyPatch, expose: str
) -> None:
    found, bind = _asked(lambda env: (_numbers(env, *_TWINS), env.host.bind), expose=expose)
    for service in ("web", "admin"):
        published = [
            {"IP": bind, "PrivatePort": number, "PublicPort": found[f"{service}.{name}"], "Type": "tcp"}
            for of, name, number in _TWINS
            if of == service
        ]
        marked = marks(IDENTITY.stack, IDENTITY.backend, service)
        docker.api.add("container", f"{IDENTITY.stack}-{service}", marked, Ports=published)
    addresses.release(IDENTITY.stack)
    held = set(found.values())
    monkeypatch.setattr(ports, "is_free", lambda _, port, *__: port not in held)
    assert _asked(lambda env: _numbers(env, *_TWINS), expose=expose) == found


def test_udp_and_tcp_share_a_number(gates: OpenGates) -> None:
    def ask(env: Any) -> Any:
        return [
            env.host.address("dns", name, 53, protocol)[1]
            for name, protocol in (("tcp", "tcp"), ("udp", "udp"), ("more", "udp"))
        ]

    tcp, udp, more = _asked(ask)
    assert (tcp, udp) == (53, 53)
    assert more in _PICKED
    assert _asked(ask) == [tcp, udp, more]


def test_udp_is_not_published_where_nothing_forwards_it(
    gates: OpenGates, monkeypatch: pytest.MonkeyPatch, events: list[Event]
) -> None:
    monkeypatch.setattr(docker_host, "exposure", lambda *_: Exposure(mode="loopback", forwarded=True))
    monkeypatch.setattr(forwarder, "hold", lambda *_: None)
    assert _asked(lambda env: env.host.address("dns", "udp", 53, "udp")) is None
    message = "dns.udp: SSH forwards TCP alone, so this endpoint is only reached from inside the environment"
    assert {"type": "notice", "message": message} in events


def test_dynamic_ports_are_picked_once_and_kept(gates: OpenGates) -> None:
    def ask(env: Any) -> Any:
        return [env.host.address("db", name, 5432) for name in ("one", "two")], env.host.bind

    found, bind = _asked(ask, expose="dynamic")
    assert bind == "127.0.0.1"
    assert [host for host, _ in found] == ["127.0.0.1"] * 2
    assert len({port for _, port in found}) == 2
    assert {port for _, port in found} <= set(_PICKED)
    assert _asked(ask, expose="dynamic") == (found, bind)


def test_dynamic_ports_are_not_those_that_another_stack_keeps(gates: OpenGates) -> None:
    def ask(env: Any) -> Any:
        return env.host.address("db", "postgres", 5432)[1]

    mine = _asked(ask, expose="dynamic")
    addresses.release(IDENTITY.stack)
    addresses.allocate("shop-other", pool="10.213.0.0/16")
    addresses.pick_port("shop-other", "db.postgres", lambda _: mine)
    assert _asked(ask, expose="dynamic") != mine


def test_remote_engine_is_reached_where_it_is_told_to_publish(
    gates: OpenGates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://build.example:2376")

    def ask(env: Any) -> Any:
        return env.expose, env.host.address("db", "postgres", 5432), env.host.bind

    with pytest.raises(InputError, match="cannot be reached from here"):
        _asked(ask)
    expose, (host, port), bind = _asked(ask, publish_host="10.0.0.7")
    assert (expose, host, bind) == ("dynamic", "10.0.0.7", "10.0.0.7")
    assert port in _PICKED


def test_port_that_is_only_for_root_is_replaced(
    gates: OpenGates, monkeypatch: pytest.MonkeyPatch, events: list[Event]
) -> None:
    monkeypatch.setattr(docker_host, "exposure", lambda *_: Exposure(mode="loopback", low_ports=False))
    picked = _asked(lambda env: env.host.address("web", "http", 80))[1]
    assert picked in _PICKED
    assert _asked(lambda env: env.host.address("web", "admin", 8080))[1] == 8080
    message = f"web.http: port 80 is only for root, using {picked} instead"
    assert {"type": "notice", "message": message} in events


_MIB = 1024 * 1024
_EXITED = {"Status": "exited", "Running": False}


@pytest.mark.parametrize(
    ("state", "finishes", "started"),
    [
        ({"Status": "running", "Running": True, "ExitCode": 0}, False, []),
        ({**_EXITED, "ExitCode": 137}, False, ["api-id"]),
        ({**_EXITED, "ExitCode": 0}, False, ["api-id"]),
        ({**_EXITED, "ExitCode": 0}, True, []),
        ({**_EXITED, "ExitCode": 1}, True, ["api-id"]),
        ({"Status": "created", "Running": False, "ExitCode": 0}, True, ["api-id"]),
        ({"Status": "paused", "Running": True, "ExitCode": 0}, False, ["api-id goes on"]),
    ],
)
def test_container_of_before_goes_on(
    docker: FakeClient, gates: OpenGates, state: dict[str, Any], finishes: bool, started: list[str]
) -> None:
    docker.api.documents["api-id"] = docker.api.documents["new-id"] = {"State": state, "HostConfig": {}}
    docker.api.add("container", "api", marks(IDENTITY.stack, IDENTITY.backend, "api"))

    def ask(env: Any) -> None:
        for container in ("api-id", "new-id"):  # this one was made by the run itself: its end is its gate's business
            env.host.revive(container, 40, finishes=finishes)

    _asked(ask)
    assert docker.api.started == started


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ({"Memory": 256 * _MIB}, {"api-id": (40 * _MIB, 40 * _MIB)}),
        ({"Memory": 40 * _MIB}, {}),
        ({"Memory": 0}, {}),
    ],
    ids=["its update failed", "has it", "limits are ignored"],
)
def test_container_of_before_gets_the_memory_limit_that_it_was_not_given(
    docker: FakeClient, gates: OpenGates, host: dict[str, Any], expected: dict[str, tuple[int, int]]
) -> None:
    state = {"Status": "running", "Running": True, "ExitCode": 0}
    docker.api.documents["api-id"] = docker.api.documents["new-id"] = {"HostConfig": host, "State": state}
    docker.api.add("container", "api", marks(IDENTITY.stack, IDENTITY.backend, "api"))

    def ask(env: Any) -> None:
        for container in ("api-id", "new-id"):  # this one was made by the run itself, with its limit
            env.host.revive(container, 40, finishes=False)

    _asked(ask)
    assert docker.api.memory_limits == expected


def test_engine_without_cgroups_is_told_of_once(
    docker: FakeClient, gates: OpenGates, events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refused:
        def raise_for_status(self) -> None:
            raise HTTPError("500")

    def ask(env: Any) -> None:
        monkeypatch.setattr(docker.api, "post", lambda *_, **__: Refused())
        env.host.limit_processes("one", 10)
        env.host.limit_processes("two", 10)

    for container in ("one", "two"):
        docker.api.run(container)
    docker.told = {"PidsLimit": False, "MemoryLimit": False}
    _asked(ask)
    message = "this engine has no cgroups: it ignores limits of memory, processes"
    assert [event for event in events if event["type"] == "notice"] == [{"type": "notice", "message": message}]
    docker.told = {"PidsLimit": True}
    with pytest.raises(HTTPError):
        _asked(ask)
    for container in ("one", "two"):
        docker.api.end(container, 0)  # before it could be limited
    _asked(ask)


def test_ports_are_forwarded_once_the_network_is_there(gates: OpenGates, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[tuple[str, ...]] = []
    monkeypatch.setattr(docker_host, "exposure", lambda *_: Exposure(mode="loopback", forwarded=True))
    monkeypatch.setattr(forwarder, "hold", lambda *given: held.append(given))
    programs.run(lambda: programs.environment(), preview=True)
    assert held == []
    programs.run(lambda: programs.environment())
    assert held == [("unix:///var/run/docker.sock", "shop-main", IDENTITY.backend)]


def test_nothing_is_published_with_expose_none(gates: OpenGates) -> None:
    assert _asked(lambda env: env.host.address("db", "postgres", 5432), expose="none") is None


def test_fixed_ports_come_from_the_table(gates: OpenGates) -> None:
    def ask(env: Any) -> Any:
        return env.host.address("db", "postgres", 5432), env.host.address("worker", "http", 80), env.host.bind

    assert _asked(ask, expose="fixed", port_table="test") == (("127.0.0.1", 15432), None, "127.0.0.1")


def test_fixed_port_in_use_is_refused_with_its_holder(
    docker: FakeClient, gates: OpenGates, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask() -> Any:
        return _asked(lambda env: env.host.address("api", "http", 80), expose="fixed", port_table="test")

    monkeypatch.setattr(ports, "is_free", lambda *_: False)
    monkeypatch.setattr(ports, "holder", lambda *_: "nginx (pid 7)")
    with pytest.raises(PortInUseError, match=r"127\.0\.0\.1:18080 for service 'api' is in use by nginx \(pid 7\)"):
        ask()
    published = {"Ports": [{"IP": "127.0.0.1", "PublicPort": 18080, "Type": "tcp"}]}
    docker.api.add("container", "other", {}, **published)
    with pytest.raises(PortInUseError, match="in use by container other"):
        ask()
    docker.api.add("container", "shop-main-api", marks("shop-main", IDENTITY.backend, "api"), **published)
    assert ask() == ("127.0.0.1", 18080), "its own container may hold it"


def test_preview_tells_the_kept_port_and_picks_none(gates: OpenGates, monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(env: Any) -> Any:
        return env.host.address("db", "postgres", 5432)[1]

    assert _asked(ask, preview=True) == 5432
    assert addresses.lookup(IDENTITY.stack) is None
    monkeypatch.setattr(ports, "is_free", lambda _, port, *__: port != 5432)
    monkeypatch.setattr(ports, "holder", lambda *_: "x")
    predicted = _asked(ask, preview=True)
    assert predicted in _PICKED
    assert _asked(ask) == predicted
    monkeypatch.setattr(ports, "is_free", lambda *_: True)
    assert _asked(ask, preview=True) == predicted


def test_credential_is_secret_and_this_stacks_own(gates: OpenGates) -> None:
    found: list[tuple[str, bool]] = []

    async def look(output: pulumi.Output[str]) -> None:
        found.append((await programs.resolved(output), await output.is_secret()))

    def program() -> Any:
        return look(programs.environment().credential("db", "password"))

    programs.run(program)
    assert found == [(credential("shop-main", "db", "password"), True)]


def test_image_is_registered_once_per_reference_and_kept(gates: OpenGates) -> None:
    def program() -> None:
        env = programs.environment()
        env.image_id(_POSTGRES)
        env.image_id(_POSTGRES)

    registered = programs.run(program)
    assert registered.names("RemoteImage") == ["image-0-1"]
    image = registered.inputs("RemoteImage", "image-0-1")
    assert image == {"name": "ephemera/image-0:1", "keepLocally": True}


def test_configuration_of_an_image_that_is_not_there_is_empty(docker: FakeClient, gates: OpenGates) -> None:
    assert _asked(lambda env: env.image_config(_POSTGRES), preview=True) == {}
    docker.api.images["ephemera/image-0:1"] = "postgres"
    assert _asked(lambda env: env.image_config(_POSTGRES))["User"] == "postgres"


def test_cores_are_those_of_the_engines_machine(docker: FakeClient, gates: OpenGates) -> None:
    docker.told = {"NCPU": 6}
    assert _asked(lambda env: env.cores()) == 6


def test_option_that_the_system_does_not_declare_is_refused(gates: OpenGates) -> None:
    assert _asked(lambda env: env.option("level"), options={"level": "debug"}) == "debug"
    with pytest.raises(UnknownNameError, match="unknown option 'levl': did you mean 'level'"):
        _asked(lambda env: env.option("levl"), options={"level": "debug"})


def test_document_lists_what_was_offered(gates: OpenGates) -> None:
    def ask(env: Any) -> Any:
        env.offer("db", {"container": "shop-main-db"})
        return env.document()

    assert _asked(ask) == {
        "schema_version": 1,
        "stack": "shop-main",
        "system": "shop",
        "branch": "main",
        "services": {"db": {"container": "shop-main-db"}},
    }
