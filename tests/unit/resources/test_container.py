from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pulumi
import pytest

from ephemera import Container, Environment, Exec, ExitZero, HealthCheck, Http, Port, Tcp, Volume
from ephemera.home import addresses
from ephemera.model import progress
from ephemera.model.catalog import Option, Source
from ephemera.model.errors import InputError
from ephemera.model.images import AnyImage, EngineImage, PublicImage
from ephemera.model.outputs import EnvironmentOutputs
from ephemera.resources.gates import GateError
from tests.unit import programs
from tests.unit.doubles import IDENTITY, SHOP, FakeClient, marks
from tests.unit.programs import OpenGates, Registered

_IMAGE = EngineImage(name="postgres")
_READY = Exec(["true"])


@pytest.fixture(autouse=True)
def _image(docker: FakeClient) -> None:
    docker.api.images["ephemera/image-0:1"] = "app"


def _made(name: str = "api", **given: Any) -> Container:
    return Container(name, **{"image": _IMAGE, "ready": _READY, **given})


def _one(
    *,
    preview: bool = False,
    registered: Registered | None = None,
    expose: str = "auto",
    outputs: Callable[[], dict[str, Any]] = dict,
    **given: Any,
) -> Registered:
    """A program with one container ``api``; ``outputs`` makes arguments that only a program can make."""

    def program() -> None:
        environment = programs.environment(expose=expose)
        _made("api", **given, **outputs())
        pulumi.export("environment", environment.document())

    return programs.run(program, preview=preview, registered=registered)


def _refused(message: str, **given: Any) -> None:
    registered = Registered()
    with pytest.raises(InputError, match=message):
        _one(registered=registered, **given)
    assert registered.names("container:Container") == []
    assert registered.names("index:Container") == []


def test_container_is_hardened_unless_told_otherwise(gates: OpenGates) -> None:
    container = _one().container("api")
    assert container["capabilities"] == {"adds": [], "drops": ["ALL"]}
    assert container["securityOpts"] == ["no-new-privileges"]
    assert container["readOnly"] is True
    assert container["tmpfs"] == {"/tmp": "size=64m"}  # noqa: S108 - in the container
    assert container["memory"] == container["memorySwap"] == 256
    assert float(container["cpus"]) == 1.0
    assert container["init"] is True
    assert container["logDriver"] == "json-file"
    assert container["logOpts"] == {"max-size": "10m", "max-file": "3"}
    assert container["restart"] == "no"
    assert container["networkMode"] == "bridge"
    assert not {"privileged", "pidMode", "ipcMode", "user"} & set(container)


def test_limits_and_what_is_opted_out_of_are_as_given(docker: FakeClient, gates: OpenGates) -> None:
    container = _one(
        memory_mb=512,
        cpus=0.25,
        pids=33,
        capabilities={"SETUID": "it drops privileges itself", "CHOWN": "it owns its data folder"},
        writable_root_reason="it writes",
        tmpfs={"/run": "size=1m"},
        run_as="1000:1000",
        stop_grace_seconds=7,
        command=["serve", "--port", "80"],
    ).container("api")
    assert container["memory"] == container["memorySwap"] == 512
    assert container["cpus"] == "0.25"
    assert docker.api.process_limits == {"api-id": 33}
    assert container["capabilities"] == {"adds": ["CAP_CHOWN", "CAP_SETUID"], "drops": ["ALL"]}
    assert container["readOnly"] is False
    assert container["tmpfs"] == {"/run": "size=1m"}
    assert container["user"] == "1000:1000"
    assert container["destroyGraceSeconds"] == 7
    assert container["command"] == ["serve", "--port", "80"]


def test_container_is_named_labelled_and_known_in_its_network(gates: OpenGates) -> None:
    container = _one().container("api")
    assert container["name"] == "shop-main-api"
    assert container["hostname"] == "api"
    assert container["networksAdvanced"] == [{"name": "shop-main", "aliases": ["api"]}]
    marks = {item["label"]: item["value"] for item in container["labels"]}
    assert marks == {**IDENTITY.labels(), "ephemera.service": "api"}


def test_container_gets_the_images_id_never_its_tag(gates: OpenGates) -> None:
    assert _one().container("api")["image"] == "sha256:image-0-1"


def test_variables_are_sorted_so_that_nothing_changes_by_their_order(gates: OpenGates) -> None:
    container = _one(outputs=lambda: {"variables": {"B": "2", "A": pulumi.Output.from_input("1"), "C": ""}}).container(
        "api"
    )
    assert container["envs"] == ["A=1", "B=2", "C="]


def test_ports_are_bound_to_the_environments_address(gates: OpenGates) -> None:
    container = _one(ports={"http": Port(8080), "admin": Port(9000)}).container("api")
    allocation = addresses.lookup(IDENTITY.stack)
    assert allocation is not None
    assert container["ports"] == [
        {"internal": number, "external": number, "ip": allocation.address, "protocol": "tcp"} for number in (8080, 9000)
    ]


def test_document_is_not_known_before_the_gate_of_a_service_without_ports_has_passed(
    gates: OpenGates, monkeypatch: pytest.MonkeyPatch
) -> None:
    known: list[Any] = []
    at_the_gate: list[int] = []

    async def passed(*_: Any, **__: Any) -> None:
        for _turn in range(50):
            await asyncio.sleep(0)  # whatever can be known by now, is
        at_the_gate.append(len(known))

    def program() -> None:
        environment = programs.environment()
        _made("api")
        pulumi.Output.from_input(environment.document()).apply(known.append)

    monkeypatch.setattr(gates, "passed", passed)
    programs.run(program)
    assert at_the_gate == [0]
    assert [document["services"]["api"]["container"] for document in known] == [f"{IDENTITY.stack}-api"]


@pytest.mark.parametrize("given", [{"publish": False}, {"expose": "none"}])
def test_nothing_is_published_when_told_so(gates: OpenGates, given: dict[str, Any]) -> None:
    registered = _one(ports={"http": Port(8080)}, **given)
    assert registered.container("api")["ports"] == []
    endpoint = EnvironmentOutputs.parse(registered.exports["environment"]).service("api").endpoint()
    assert (endpoint.host, endpoint.port, endpoint.url) == (None, None, None)
    assert endpoint.internal_url == "http://api:8080"
    assert gates.asked[0][4] is None


def test_stopped_containers_are_started_each_after_what_it_needs(docker: FakeClient, gates: OpenGates) -> None:
    started: dict[str, list[str]] = {}
    gates.before = lambda service: started.update({service: list(docker.api.started)})
    for service in ("db", "api"):
        docker.api.add("container", service, marks(IDENTITY.stack, IDENTITY.backend, service), State="exited")
        docker.api.end(f"{service}-id", 137, event=False)

    def program() -> None:
        programs.environment()
        db = Container(
            "db",
            image=_IMAGE,
            ready=_READY,
            run_as="1",
        )
        Container(
            "api",
            image=_IMAGE,
            ready=_READY,
            run_as="1",
            needs=(db,),
        )

    programs.run(program)
    assert started == {"db": ["db-id"], "api": ["db-id", "api-id"]}


def test_endpoints_with_one_container_port_are_published_apart(gates: OpenGates) -> None:
    registered = _one(ports={"http": Port(8000), "ws": Port(8000, scheme="ws", path="/s")})
    allocation = addresses.lookup(IDENTITY.stack)
    assert allocation is not None
    picked = allocation.ports["api.ws"]
    assert allocation.ports["api.http"] == 8000 != picked
    published = [(port["internal"], port["external"]) for port in registered.container("api")["ports"]]
    assert published == [(8000, 8000), (8000, picked)]
    endpoints = EnvironmentOutputs.parse(registered.exports["environment"]).services["api"].endpoints
    assert endpoints["ws"].url == f"ws://{allocation.address}:{picked}/s"
    assert endpoints["ws"].internal_url == "ws://api:8000/s"
    assert gates.asked[0][4] == (allocation.address, 8000)


_UDP = {"dns": Port(53, protocol="udp"), "tcp": Port(53, scheme="dns"), "web": Port(80)}


def test_endpoint_of_udp_is_published_and_never_probed(gates: OpenGates) -> None:
    registered = _one(ports=_UDP)
    allocation = addresses.lookup(IDENTITY.stack)
    assert allocation is not None
    published = [
        (port["internal"], port["external"], port["protocol"]) for port in registered.container("api")["ports"]
    ]
    assert published == [(53, 53, "udp"), (53, 53, "tcp"), (80, 80, "tcp")]
    service = EnvironmentOutputs.parse(registered.exports["environment"]).services["api"]
    assert service.endpoints["dns"].url == f"udp://{allocation.address}:53"
    assert [endpoint.protocol for endpoint in service.endpoints.values()] == ["udp", "tcp", "tcp"]
    assert service.asked == service.endpoints["tcp"]
    assert gates.asked[0][4] == (allocation.address, 53)


def test_service_of_udp_alone_cannot_be_asked_from_outside(gates: OpenGates) -> None:
    with pytest.raises(InputError, match=r"publishes nothing over TCP, .*: .*Exec"):
        _one(ports={"dns": Port(53, protocol="udp")}, ready=Tcp())
    _one(ports={"dns": Port(53, protocol="udp")})
    assert gates.asked[0][4] is None


def test_protocol_that_is_neither_is_refused() -> None:
    with pytest.raises(InputError, match="protocol of port 53 is 'sctp': it must be tcp or udp"):
        Port(53, protocol="sctp")  # type: ignore[arg-type]


def test_what_publishes_nothing_is_asked_inside_by_its_health_check(gates: OpenGates) -> None:
    health = HealthCheck(command=["healthy"], interval_seconds=5, timeout_seconds=3, retries=3, start_period_seconds=1)
    _one(ports={"http": Port(8080)}, publish=False, ready=Http(), timeout_seconds=7, healthcheck=health)
    assert gates.asked[0][2:4] == (Exec(["healthy"]), 7)


def test_what_publishes_nothing_and_cannot_be_asked_inside_is_refused(gates: OpenGates) -> None:
    with pytest.raises(InputError, match="publishes nothing, and its probe asks from outside: give it a healthcheck"):
        _one(ports={"http": Port(8080)}, publish=False, ready=Http())
    assert gates.asked == []


def test_outputs_are_a_document_that_tests_can_use(gates: OpenGates) -> None:
    registered = _one(
        ports={"http": Port(8080, path="/shop"), "admin": Port(9000, scheme="https")},
        outputs=lambda: {"credentials": {"token": pulumi.Output.secret("t0ken")}},
        engine_capabilities={"version": "1"},
        ready=Http("/health"),
    )
    allocation = addresses.lookup(IDENTITY.stack)
    assert allocation is not None
    api = EnvironmentOutputs.parse(registered.exports["environment"]).service("api")
    assert api.container == "shop-main-api"
    assert api.image == "sha256:image-0-1"
    assert api.endpoint("http").url == f"http://{allocation.address}:8080/shop"
    assert api.endpoint("http").internal_url == "http://api:8080/shop"
    assert api.endpoint("admin").url == f"https://{allocation.address}:9000"
    assert api.credentials["token"].get_secret_value() == "t0ken"
    assert api.capabilities == {"version": "1"}
    assert api.readiness["type"] == "http"
    assert api.readiness["path"] == "/health"


def test_volume_is_named_labelled_and_mounted(gates: OpenGates) -> None:
    def program() -> None:
        programs.environment()
        data = Volume("api-data")
        _made("api", volumes={"/data": data})

    registered = programs.run(program)
    volume = registered.inputs("volume:Volume", "api-data")
    assert volume["name"] == "shop-main-api-data"
    assert {item["label"]: item["value"] for item in volume["labels"]} == IDENTITY.labels()
    assert registered.container("api")["volumes"] == [{"containerPath": "/data", "volumeName": "shop-main-api-data"}]


def test_health_check_gives_all_durations_as_the_engine_prints_them(gates: OpenGates) -> None:
    health = HealthCheck(
        command=["check", "it"], interval_seconds=5, timeout_seconds=3, retries=10, start_period_seconds=90
    )
    assert _one(healthcheck=health).container("api")["healthcheck"] == {
        "tests": ["CMD", "check", "it"],
        "interval": "5s",
        "timeout": "3s",
        "startPeriod": "1m30s",
        "retries": 10,
    }


def test_one_shot_need_not_go_on_running(gates: OpenGates) -> None:
    assert _one().container("api")["mustRun"] is True
    one_shot = _one(ready=ExitZero()).container("api")
    assert one_shot["mustRun"] is False
    assert one_shot["healthcheck"]["tests"] == ["NONE"]
    assert "healthcheck" not in _one().container("api")
    assert {"label": "ephemera.one-shot", "value": "true"} in one_shot["labels"]
    assert "ephemera.one-shot" not in str(_one().container("api")["labels"])


def test_gate_is_asked_at_the_published_address(gates: OpenGates) -> None:
    _one(ports={"http": Port(8080)})
    allocation = addresses.lookup(IDENTITY.stack)
    assert allocation is not None
    assert gates.asked == [("api", "api-id", _READY, 60, (allocation.address, 8080))]


def test_preview_passes_through_the_gates_and_limits_nothing(docker: FakeClient, gates: OpenGates) -> None:
    registered = _one(preview=True, ports={"http": Port(8080)})
    assert registered.names("container:Container") == ["api"]
    assert gates.asked == []
    assert docker.api.process_limits == {}


def _chain(registered: Registered) -> Callable[[], None]:
    """A program with ``api``, which ``worker`` needs."""

    def program() -> None:
        programs.environment()
        api = _made("api")
        _made("worker", needs=(api,))

    return program


def test_what_needs_a_service_is_created_after_its_gate(gates: OpenGates) -> None:
    registered = Registered()
    there: dict[str, list[str]] = {}
    gates.before = lambda service: there.update({service: list(registered.names("container:Container"))})
    programs.run(_chain(registered), registered=registered)
    assert there == {"api": ["api"], "worker": ["api", "worker"]}


def test_what_needs_a_service_that_failed_is_never_created(gates: OpenGates) -> None:
    registered = Registered()
    gates.failures["api"] = GateError("api", "exited before it was ready")
    with pytest.raises(GateError, match="service 'api' exited"):
        programs.run(_chain(registered), registered=registered)
    assert registered.names("container:Container") == ["api"]


@pytest.mark.parametrize("service", ["", "Api", "1api", "-api", "api-", "a_b", "a" * 41, "api\n"])
def test_service_name_that_is_no_label_is_refused(gates: OpenGates, service: str) -> None:
    registered = Registered()
    with pytest.raises(InputError, match="is not valid"):
        programs.run(lambda: programs.environment() and _made(service), registered=registered)
    assert registered.names("container:Container") == []


@pytest.mark.parametrize("user", ["", "root", "0", "0:0", "root:root"])
def test_image_that_runs_as_root_is_refused_without_a_reason(docker: FakeClient, gates: OpenGates, user: str) -> None:
    docker.api.images["ephemera/image-0:1"] = user
    registered = Registered()
    with pytest.raises(InputError, match="service 'api' is to run as root"):
        _one(registered=registered)
    assert registered.names("container:Container") == []
    assert _one(root_reason="it drops rights itself").names("container:Container") == ["api"]
    assert _one(run_as="1000").container("api")["user"] == "1000"


def _developed(tmp_path: Path, *, development: bool, **options: Option) -> dict[str, Any]:
    """What the container ``api`` is given, whose source folder is declared."""
    source = Source(folder=tmp_path, target="/opt/app", reload="command", command=("serve", "--reload"))
    manifest = replace(SHOP, options=options)

    def program() -> None:
        known = {name: option.default for name, option in options.items()}
        environment = programs.environment(manifest, development=development, options=known)
        variables = {"LOG_LEVEL": str(environment.option("log_level"))} if options else {"LOG_LEVEL": "info"}
        _made("api", command=["serve"], variables=variables, source=source)
        _made("db")

    registered = programs.run(program, preview=True)
    assert registered.container("db").get("volumes") in (None, [])
    return registered.container("api")


def test_development_mode_mounts_the_source_and_raises_the_log_level(tmp_path: Path) -> None:
    given = _developed(tmp_path, development=True)
    assert given["volumes"] == [{"containerPath": "/opt/app", "hostPath": str(tmp_path), "readOnly": True}]
    assert given["command"] == ["serve", "--reload"]
    assert given["envs"] == ["LOG_LEVEL=debug"]
    assert {"label": "ephemera.development", "value": "true"} in given["labels"]


def test_option_for_the_log_level_is_raised_unless_it_was_set(tmp_path: Path) -> None:
    option = Option("info", "log level")
    assert _developed(tmp_path, development=True, log_level=option)["envs"] == ["LOG_LEVEL=debug"]


def test_without_development_mode_nothing_of_it_is_there(tmp_path: Path) -> None:
    given = _developed(tmp_path, development=False)
    assert given.get("volumes") in (None, [])
    assert given["command"] == ["serve"]
    assert given["envs"] == ["LOG_LEVEL=info"]
    assert "ephemera.development" not in {label["label"] for label in given["labels"]}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (lambda: 5, "5"),
        (lambda: 0.5, "0.5"),
        (lambda: True, "true"),
        (lambda: pulumi.Output.from_input(False), "false"),
        (lambda: pulumi.Output.secret(7), "7"),
    ],
)
def test_numbers_and_booleans_arrive_as_text(gates: OpenGates, value: Callable[[], Any], text: str) -> None:
    registered = _one(outputs=lambda: {"variables": {"A": value()}, "credentials": {"pin": value()}})
    assert registered.container("api")["envs"] == [f"A={text}"]
    outputs = EnvironmentOutputs.parse(registered.exports["environment"]).service("api")
    assert outputs.credentials["pin"].get_secret_value() == text


def test_secret_stays_one_on_its_way_into_the_container(gates: OpenGates) -> None:
    registered = _one(outputs=lambda: {"variables": {"A": pulumi.Output.secret("s3cret")}})
    assert registered.container("api")["envs"] == ["A=s3cret"]
    assert ("api", "envs") in registered.secrets


def test_value_that_turns_out_to_be_none_is_refused_without_a_traceback(
    gates: OpenGates, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[dict[str, Any]] = []
    monkeypatch.setattr(progress, "_subscribers", [told.append])
    with pytest.raises(pulumi.RunError, match="variable 'A' of service 'api' is None"):
        _one(outputs=lambda: {"variables": {"A": pulumi.Output.from_input(None)}})
    assert [event["error"]["kind"] for event in told if event["type"] == "failed"] == ["bad_input"]


def test_empty_word_arrives_through_the_entrypoint(docker: FakeClient, gates: OpenGates) -> None:
    docker.api.configs["ephemera/image-0:1"] = {"Entrypoint": ["tini", "--"]}
    container = _one(command=["redis-server", "--save", "", "--port", 5]).container("api")
    assert container["entrypoints"] == ["tini", "--", "redis-server", "--save", "", "--port", "5"]
    assert "command" not in container


def test_places_are_given_as_docker_spells_them(gates: OpenGates) -> None:
    def program() -> None:
        programs.environment()
        data = Volume("data")
        _made("api", volumes={"/data/": data}, tmpfs={"//run/": ""})

    container = programs.run(program).container("api")
    assert [volume["containerPath"] for volume in container["volumes"]] == ["/data"]
    assert container["tmpfs"] == {"/run": ""}


def test_start_period_of_nothing_is_none_of_the_images_own(docker: FakeClient, gates: OpenGates) -> None:
    health = HealthCheck(command=["true"], interval_seconds=1, timeout_seconds=1, retries=1, start_period_seconds=0)
    assert _one(healthcheck=health).container("api")["healthcheck"]["startPeriod"] == "0s"
    own = {"StartPeriod": 4 * 10**9, "StartInterval": 5 * 10**8}
    docker.api.configs["ephemera/image-0:1"] = {"Healthcheck": own}
    given = _one(healthcheck=health).container("api")["healthcheck"]
    assert (given["startPeriod"], given["startInterval"]) == ("1ms", "500ms")


def test_more_cpus_than_the_host_has_are_refused_in_numbers(docker: FakeClient, gates: OpenGates) -> None:
    docker.told = {"NCPU": 2}
    assert _one(cpus=2).container("api")["cpus"] == "2.0"
    _refused("cpus of service 'api' is 2.5, and the Docker host has 2: give at most 2", cpus=2.5)


def test_source_folder_and_volume_at_one_place_are_refused(tmp_path: Path) -> None:
    source = Source(folder=tmp_path, target="/opt/app")

    def program() -> None:
        programs.environment(development=True)
        _made("api", source=source, tmpfs={"/opt/app/": ""})

    with pytest.raises(InputError, match="service 'api' has a volume or tmpfs at /opt/app"):
        programs.run(program, preview=True)


def test_words_of_a_probe_are_text_too(gates: OpenGates) -> None:
    health = HealthCheck(command=["ask", 1], interval_seconds=1, timeout_seconds=1, retries=1, start_period_seconds=0)
    _one(ready=Exec(["ask", 8000, True]))  # type: ignore[list-item]
    _one(ports={"http": Port(80)}, publish=False, ready=Http(), healthcheck=health)
    assert [asked[2] for asked in gates.asked] == [
        Exec(["ask", "8000", "true"]),
        Exec(["ask", "1"]),
    ]


def test_probe_that_would_be_known_only_later_is_refused(gates: OpenGates) -> None:
    with pytest.raises(InputError, match="probe of service 'api' has a word that is known only later"):
        _one(outputs=lambda: {"ready": Exec(["ask", pulumi.Output.from_input("x")])})  # type: ignore[list-item]


@pytest.mark.parametrize("kind", ["service", "volume"])
def test_name_that_is_given_twice_is_refused(gates: OpenGates, kind: str) -> None:
    def program() -> None:
        programs.environment()
        for _ in range(2):
            if kind == "service":
                _made("api")
            else:
                Volume("api")

    with pytest.raises(InputError, match=f"{kind} 'api' is made twice: give each a name of its own"):
        programs.run(program)


def test_images_of_two_registries_may_have_one_name(docker: FakeClient, gates: OpenGates) -> None:
    images = [PublicImage(reference=reference) for reference in ("docker.io/library/nats:2", "mirror.example/nats:2")]
    references: dict[AnyImage, str] = {image: image.reference for image in images}
    docker.api.images |= {image.reference: "app" for image in images}

    def program() -> None:
        programs.environment(references=references)
        for name, image in zip(("one", "two"), images, strict=True):
            _made(name, image=image)

    registered = programs.run(program)
    assert registered.names("RemoteImage") == ["nats-2", "mirror.example-nats-2"]


def test_secret_variables_are_named_on_the_container_and_hidden_with_credentials(gates: OpenGates) -> None:
    made: list[Environment] = []

    def program() -> None:
        environment = programs.environment()
        made.append(environment)
        own = pulumi.Output.secret("p@ss word")
        _made(
            variables={
                "DSN": pulumi.Output.concat("db://u:", own, "@h"),
                "URL": pulumi.Output.from_input("http://h"),
                "A": "b",
            },
            credentials={"user": "shop", "token": "plain-token", "key": pulumi.Output.secret("own-key")},
        )

    registered = programs.run(program)
    labels = {each["label"]: each["value"] for each in registered.container("api")["labels"]}
    assert labels["ephemera.secrets"] == '["DSN"]'
    assert made[0]._secrets == {"db://u:p@ss word@h", "plain-token", "own-key"}
    assert "ephemera.secrets" not in {each["label"] for each in _one(variables={"A": "b"}).container("api")["labels"]}


def test_container_that_the_network_has_no_address_for_is_refused(gates: OpenGates) -> None:
    def program(count: int) -> None:
        programs.environment()
        for number in range(count):
            _made(f"api-{number}")
            _made(f"once-{number}", ready=ExitZero())

    assert len(programs.run(lambda: program(13)).names("container:Container")) == 26
    with pytest.raises(
        InputError, match="service 'api-13' is one container too many: an environment's network has 13 addr"
    ):
        programs.run(lambda: program(14))


def test_fingerprint_tells_values_apart_and_no_secret(gates: OpenGates) -> None:
    found: list[str] = []

    def program() -> None:
        environment = programs.environment()
        for word in ("s3cret", pulumi.Output.secret("s3cret"), pulumi.Output.secret("other")):
            environment.fingerprint({"command": ["ask", word]}).apply(found.append)

    programs.run(program)
    assert len(found) == 3
    assert len(set(found)) == 2
    assert not any("s3cret" in each for each in found)
