"""The policy: every system of the catalog keeps it, and it bites whoever does not. Needs no Docker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_docker as docker
import pytest

from ephemera import Container, Environment, Exec, Http, Port, Volume, check_policy
from ephemera.components import Postgres
from ephemera.model import labels
from ephemera.model.catalog import Option
from ephemera.model.errors import InputError, PolicyError, UnknownNameError
from ephemera.model.images import EngineImage
from ephemera.model.system import System
from ephemera.resources.policy import RULES, Policy
from ephemera.resources.rehearsal import manifest_of, variations
from stacks.catalog import SYSTEMS
from tests.surroundings import follow

_IMAGE = EngineImage(name="python")
_READY = Exec(["true"])
_LABELS = [{"label": labels.STACK, "value": "rehearsal"}]

# A container of the vendor's package that keeps every rule but the one of who makes it.
_GOOD: dict[str, Any] = {
    "image": "nginx",
    "user": "1000",
    "read_only": True,
    "capabilities": docker.ContainerCapabilitiesArgs(drops=["ALL"]),
    "security_opts": ["no-new-privileges"],
    "memory": 64,
    "memory_swap": 64,
    "cpus": "0.5",
    "ports": [docker.ContainerPortArgs(internal=80, external=8080, ip="127.0.0.1")],
    "network_mode": "bridge",
    "log_opts": {"max-size": "10m"},
    "labels": _LABELS,
}


@dataclass(frozen=True)
class _Later:
    """A value that only the running program knows."""

    value: Any


_BAD: list[tuple[str, dict[str, Any]]] = [
    ("root", {"user": "root"}),
    ("root", {"user": "0:1000"}),
    ("root", {"user": "00"}),
    ("root", {"user": None}),
    ("root", {"user": _Later("1000")}),
    ("writable_root", {"read_only": False}),
    ("writable_root", {"read_only": None}),
    ("capabilities", {"capabilities": None}),
    ("capabilities", {"capabilities": {"drops": ["CAP_CHOWN"]}}),
    ("capabilities", {"capabilities": {"drops": ["ALL"], "adds": ["CAP_NET_ADMIN"]}}),
    ("capabilities", {"capabilities": docker.ContainerCapabilitiesArgs(drops=["ALL"], adds=["ALL"])}),
    ("privileges", {"privileged": True}),
    ("privileges", {"security_opts": None}),
    ("privileges", {"security_opts": ["no-new-privileges", "seccomp=unconfined"]}),
    ("privileges", {"security_opts": ["no-new-privileges", "label=disable"]}),
    ("privileges", {"security_opts": ["no-new-privileges:false"]}),
    ("privileges", {"devices": [docker.ContainerDeviceArgs(host_path="/dev/kvm")]}),
    ("limits", {"memory": None}),
    ("limits", {"memory": 0}),
    ("limits", {"memory_swap": -1}),
    ("limits", {"cpus": None}),
    ("limits", {"cpus": "many"}),
    ("publish", {"ports": [docker.ContainerPortArgs(internal=80, external=80)]}),
    ("publish", {"ports": [{"internal": 80, "external": 80, "ip": "0.0.0.0"}]}),  # noqa: S104 - refused
    ("publish", {"ports": [{"internal": 80, "ip": "::"}]}),
    ("publish", {"ports": [{"internal": 80, "ip": "10.0.0.1"}]}),
    ("publish", {"ports": _Later([{"internal": 80, "ip": "127.0.0.1"}])}),
    ("publish", {"publish_all_ports": True}),
    ("host_namespaces", {"network_mode": "host"}),
    ("host_namespaces", {"network_mode": "container:other"}),
    ("host_namespaces", {"network_mode": None}),
    ("host_namespaces", {"pid_mode": "host"}),
    ("host_namespaces", {"ipc_mode": "host"}),
    ("host_namespaces", {"userns_mode": "host"}),
    ("host_namespaces", {"cgroupns_mode": "host"}),
    ("host_files", {"volumes": [{"hostPath": "/var/run/docker.sock", "containerPath": "/docker.sock"}]}),
    ("host_files", {"volumes": [docker.ContainerVolumeArgs(host_path="/etc", container_path="/etc")]}),
    ("host_files", {"volumes": [docker.ContainerVolumeArgs(volume_name="/etc", container_path="/etc")]}),
    ("host_files", {"mounts": [docker.ContainerMountArgs(type="bind", target="/x", source="/etc")]}),
    ("logs", {"log_opts": None}),
    ("labels", {"labels": None}),
    ("labels", {"labels": [{"label": "mine", "value": "yes"}]}),
]


def _system(program: Callable[[Environment], object], **given: Any) -> System:
    """A system whose program is that function."""
    system = System("web", **given)
    system.program(program)
    return system


def _vendors(name: str = "web", **given: Any) -> Callable[[Environment], None]:
    def program(_: Environment) -> None:
        known = {
            key: pulumi.Output.from_input(value.value) if isinstance(value, _Later) else value
            for key, value in {**_GOOD, **given}.items()
        }
        docker.Container(name, **known)

    return program


def _ours(**given: Any) -> Callable[[Environment], None]:
    def program(environment: Environment) -> None:
        Container(
            "web",
            image=_IMAGE,
            ready=_READY,
            **given,
        )

    return program


@pytest.fixture(autouse=True)
def _no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    follow(monkeypatch)
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    monkeypatch.setenv("XDG_STATE_HOME", "/nonexistent/state")


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system.name)
def test_every_system_of_the_catalog_keeps_the_policy(system: System) -> None:
    check_policy(system)


def test_every_profile_and_every_way_to_publish_is_tried() -> None:
    tried = {(settings.profiles, settings.expose) for settings in variations(manifest_of(SYSTEMS[0]))}
    assert tried == {(group, way) for group in ((), ("scale",)) for way in ("loopback", "dynamic", "none", "fixed")}


def test_program_of_a_profile_is_judged_too() -> None:
    def program(environment: Environment) -> None:
        Container("lab", image=_IMAGE, ready=_READY, run_as="65534", profile="lab")
        if environment.has("lab"):
            docker.Container("raw", **_GOOD)

    with pytest.raises(PolicyError, match="raw breaks 'raw'"):
        check_policy(_system(program))


def test_vendors_container_is_refused_however_hard_it_is() -> None:
    with pytest.raises(PolicyError) as caught:
        check_policy(_system(_vendors()))
    assert caught.value.violations == ("web breaks 'raw': it is made by pulumi_docker's Container, not by ephemera's",)


def test_exception_with_a_reason_lets_it_pass() -> None:
    check_policy(_system(_vendors(), exceptions={"web.raw": "a sidecar of the vendor's own making"}))


@pytest.mark.parametrize(("rule", "given"), _BAD, ids=[f"{rule}-{number}" for number, (rule, _) in enumerate(_BAD)])
def test_what_breaks_a_rule_is_refused_and_named(rule: str, given: dict[str, Any]) -> None:
    raw = {"web.raw": "this test is about the other rules"}
    with pytest.raises(PolicyError) as caught:
        check_policy(_system(_vendors(**given), exceptions=raw))
    assert {violation.split(":")[0] for violation in caught.value.violations} == {f"web breaks {rule!r}"}
    check_policy(_system(_vendors(**given), exceptions={**raw, f"web.{rule}": "needed"}))


def test_there_is_a_bad_example_for_every_rule_on_containers() -> None:
    assert {rule for rule, _ in _BAD} == set(RULES) - {"raw", "network", "kind"}


@pytest.mark.parametrize(
    ("rule", "make"),
    [
        ("network", lambda: docker.Network("x", driver="host", labels=_LABELS)),
        ("network", lambda: docker.Network("x", driver="macvlan", labels=_LABELS)),
        ("labels", lambda: docker.Network("x", driver="bridge")),
        ("labels", lambda: docker.Volume("x")),
        ("host_files", lambda: docker.Volume("x", driver_opts={"o": "bind", "device": "/"}, labels=_LABELS)),
        ("host_files", lambda: docker.Volume("x", driver="nfs", labels=_LABELS)),
        ("kind", lambda: docker.ServiceConfig("x", data="")),
        ("kind", lambda: docker.Plugin("x")),
    ],
)
def test_other_resources_of_dockers_are_judged_too(rule: str, make: Callable[[], Any]) -> None:
    with pytest.raises(PolicyError, match=f"^policy: x breaks '{rule}'"):
        check_policy(_system(lambda _: make()))
    check_policy(_system(lambda _: make(), exceptions={f"x.{rule}": "needed"}))


def test_resource_below_somebody_elses_component_is_judged() -> None:
    class Sidecar(pulumi.ComponentResource):
        def __init__(self) -> None:
            super().__init__("other:index:Sidecar", "sidecar", None, None)
            docker.Container("inner", **_GOOD, opts=pulumi.ResourceOptions(parent=self))

    with pytest.raises(PolicyError, match="inner breaks 'raw'"):
        check_policy(_system(lambda _: Sidecar()))


def test_resource_beneath_the_environment_is_judged() -> None:
    def program(environment: Environment) -> None:
        docker.Container("inner", **_GOOD, opts=pulumi.ResourceOptions(parent=environment))

    with pytest.raises(PolicyError, match="inner breaks 'raw'"):
        check_policy(_system(program))


def test_our_container_passes_and_its_reasons_count() -> None:
    def program(environment: Environment) -> None:
        data = Volume("data")
        Postgres(
            "db",
            database="shop",
            user="shop",
            image=_IMAGE,
        )
        Container(
            "web",
            image=_IMAGE,
            ready=_READY,
            ports={"http": Port(80)},
            volumes={"/data": data},
            run_as="root",
            root_reason="the vendor's image starts as root",
            writable_root_reason="it unpacks itself",
            capabilities={"CHOWN": "it owns its data folder", "NET_BIND_SERVICE": "port 80"},
        )

    check_policy(_system(program))


@pytest.mark.parametrize(
    ("message", "given"),
    [
        ("is to run as root", {"run_as": "root"}),
        ("is to run as root", {"run_as": "root", "root_reason": "  "}),
        ("breaks 'writable_root'", {"run_as": "1000", "writable_root_reason": None}),
        ("capability CHOWN without a reason", {"run_as": "1000", "capabilities": {"CHOWN": " "}}),
        ("capability 'ALL'", {"run_as": "1000", "capabilities": {"ALL": "it wants everything"}}),
        ("capability 'CAP_CHOWN'", {"run_as": "1000", "capabilities": {"CAP_CHOWN": "twice"}}),
        ("cpus of service 'web' is nan", {"run_as": "1000", "cpus": float("nan")}),
        ("memory_mb of service 'web' is 0", {"run_as": "1000", "memory_mb": 0}),
    ],
)
def test_component_that_opts_out_without_a_reason_is_refused(
    monkeypatch: pytest.MonkeyPatch, message: str, given: dict[str, Any]
) -> None:
    if "writable_root_reason" in given:  # what a careless change of our own Container would do
        given = {"run_as": "1000"}
        hardened = docker.Container.__init__
        monkeypatch.setattr(
            docker.Container,
            "__init__",
            lambda self, *names, **given: hardened(self, *names, **{**given, "read_only": False}),
        )
    with pytest.raises(InputError, match=message):
        check_policy(_system(_ours(**given)))


@pytest.mark.parametrize(
    ("error", "exceptions"),
    [
        (UnknownNameError, {"web.hostfiles": "needed"}),
        (UnknownNameError, {"": "needed"}),
        (InputError, {"raw": "needed"}),
        (InputError, {"web.raw": "  "}),
    ],
)
def test_exception_that_names_no_rule_or_gives_no_reason_is_refused(
    error: type[InputError], exceptions: dict[str, str]
) -> None:
    with pytest.raises(error, match="exception"):
        Policy(exceptions)


def test_rehearsal_gives_options_their_defaults_and_the_program_its_config() -> None:
    seen: list[tuple[Any, str]] = []

    def program(environment: Environment) -> None:
        seen.append((environment.option("level"), pulumi.Config("mine").require("key")))

    system = _system(program, options={"level": Option("info", "")})
    check_policy(system, config={"mine:key": "value"})
    assert set(seen) == {("info", "value")}


def _web(environment: Environment, **given: Any) -> None:
    """The README's, which has no health check; it needs more CPUs than a small machine has."""
    Container("web", image=_IMAGE, ports={"http": 8000}, ready=Http("/"), run_as="65534", cpus=64, **given)


def test_service_without_a_health_check_passes() -> None:
    check_policy(_system(_web))


def test_service_that_publishes_nothing_and_cannot_be_asked_inside_does_not_pass() -> None:
    with pytest.raises(InputError, match="service 'web' publishes nothing"):
        check_policy(_system(lambda environment: _web(environment, publish=False)))


def test_what_breaks_a_rule_only_where_nothing_is_published_is_refused() -> None:
    def program(environment: Environment) -> None:
        _web(environment)
        if environment.expose == "none":
            docker.Volume("loose")

    with pytest.raises(PolicyError, match="loose breaks 'labels'"):
        check_policy(_system(program))


def test_what_the_program_raises_comes_through() -> None:
    with pytest.raises(UnknownNameError, match="unknown option"):
        check_policy(_system(lambda environment: environment.option("nothing")))


_SOURCE = ("/srv/src", "/opt/app")


@pytest.mark.parametrize(
    ("mount", "ours", "broken"),
    [
        ({"host_path": "/srv/src", "container_path": "/opt/app", "read_only": True}, True, False),
        ({"host_path": "/srv/src", "container_path": "/opt/app", "read_only": False}, True, True),
        ({"host_path": "/srv/src", "container_path": "/opt/app"}, True, True),
        ({"host_path": "/srv/src", "container_path": "/etc", "read_only": True}, True, True),
        ({"host_path": "/srv", "container_path": "/opt/app", "read_only": True}, True, True),
        ({"host_path": "/var/run/docker.sock", "container_path": "/opt/app", "read_only": True}, True, True),
        ({"host_path": "/srv/src", "container_path": "/opt/app", "read_only": True}, False, True),
    ],
)
def test_development_mode_lets_one_declared_folder_in_read_only(
    mount: dict[str, Any], ours: bool, broken: bool
) -> None:
    held = Policy({})
    given = {**_GOOD, "volumes": [docker.ContainerVolumeArgs(**mount)]}
    token = "docker:index/container:Container"  # noqa: S105 - a type token
    outside = {rule for rule, _ in held.violations(token, "web", given, ours=ours)}
    assert "host_files" in outside
    held.mount_source("web", *_SOURCE)
    assert ("host_files" in {rule for rule, _ in held.violations(token, "web", given, ours=ours)}) is broken
    assert "host_files" in {rule for rule, _ in held.violations(token, "another", given, ours=ours)}
