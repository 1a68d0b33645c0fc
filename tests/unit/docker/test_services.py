from __future__ import annotations

import socket
import threading
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from ephemera.docker import services
from ephemera.docker.ports import free_port
from ephemera.docker.services import ServiceHandle
from ephemera.home import identity
from ephemera.model import labels
from ephemera.model.errors import EngineError, NotReadyError, UnknownNameError
from ephemera.model.outputs import EnvironmentOutputs, ServiceOutputs
from tests.unit.doubles import SHOP, FakeClient, marks, refusal

_STACK = "shop-main"
_API = f"{_STACK}-api-id"


@pytest.fixture
def engine(client: FakeClient) -> FakeClient:
    """An engine with two services of ours and a namesake of somebody else's."""
    client.api.add("container", "foreign", marks(_STACK, "another", "api"))
    for service in ("api", "db"):
        client.api.add("container", f"{_STACK}-{service}", marks(_STACK, identity.backend_id(), service))
        client.api.run(f"{_STACK}-{service}-id")
    return client


def _outputs(port: int | None = None, **readiness: Any) -> ServiceOutputs:
    endpoint = {
        "scheme": "http",
        "host": "127.0.0.1" if port else None,
        "port": port,
        "url": f"http://127.0.0.1:{port}" if port else None,
        "internal_host": "api",
        "internal_port": 80,
        "internal_url": "http://api:80",
    }
    return ServiceOutputs.model_validate(
        {"container": f"{_STACK}-api", "image": "i", "endpoints": {"http": endpoint}, "readiness": readiness}
    )


def _handle(engine: FakeClient, name: str = "api", outputs: ServiceOutputs | None = None) -> ServiceHandle:
    return ServiceHandle(engine, _STACK, name, outputs or _outputs())


def test_container_is_this_backends_own(engine: FakeClient) -> None:
    assert _handle(engine).container == _API
    nothing = ServiceOutputs(container="", image="")
    with pytest.raises(UnknownNameError, match="service in shop-main 'worker': known: api, db"):
        _ = _handle(engine, "worker", nothing).container


def test_container_that_should_be_there_and_is_not_is_told_with_the_way_back(engine: FakeClient) -> None:
    with pytest.raises(NotReadyError) as caught:
        _handle(engine, "worker").inspect()
    assert str(caught.value) == "service 'worker' of shop-main has no container: bring it back with `ephemera up`"
    one_shot = ServiceOutputs(container="x", image="i", readiness={"type": "exit_zero"})
    names = {"api": _outputs(), "worker": _outputs(), "lab": _outputs(), "extra": _outputs(), "setup": one_shot}
    document = EnvironmentOutputs(stack=_STACK, system="shop", branch="main", services=names)
    with pytest.raises(NotReadyError, match="services worker, lab of shop-main have no containers"):
        services.refuse_missing(services.containers(engine, _STACK), document, SHOP)


def test_command_gives_its_exit_code_and_what_it_said(engine: FakeClient) -> None:
    engine.api.exit_codes[f"{_API}: ls -l"] = 2
    assert _handle(engine).exec(["ls", "-l"]) == (2, f"said {_API}: ls -l")


def test_command_that_the_engine_refuses_is_told_with_the_services_state(engine: FakeClient) -> None:
    engine.api.end(_API, 137, event=False)

    def refuse(container: str, command: list[str], *, stdin: bool) -> None:
        error = refusal(409)
        error.explanation = f"Container {'0f' * 32} is not running\n"
        raise error

    engine.api.exec_create = refuse  # type: ignore[assignment,method-assign]
    with pytest.raises(NotReadyError) as caught:
        _handle(engine).exec(["ls"])
    assert str(caught.value) == (
        "cannot run a command in service 'api' of shop-main: it is exited with exit code 137: "
        "Container shop-main-api is not running"
    )


def test_logs_are_whole_or_the_last_lines(engine: FakeClient) -> None:
    engine.api.log_texts[_API] = "one\ntwo\nthree\n"
    assert _handle(engine).logs() == "one\ntwo\nthree\n"
    assert _handle(engine).logs(tail=1) == "three\n"


def test_service_is_waited_for_by_its_own_probe(engine: FakeClient) -> None:
    engine.api.exit_codes[f"{_API}: check"] = 1
    handle = _handle(engine, outputs=_outputs(type="exec", command=["check"]))
    with pytest.raises(NotReadyError, match="service 'api' of shop-main was not ready within 0 s: it is running"):
        handle.wait_ready(0)
    engine.api.exit_codes[f"{_API}: check"] = 0
    handle.wait_ready(0)


def test_probe_that_hangs_keeps_nobody_waiting(engine: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    handle = _handle(engine, outputs=_outputs(type="exec", command=["check"], timeout_seconds=0.1))
    monkeypatch.setattr(engine.api, "exec_start", lambda *_, **__: over.wait(30))
    started = time.monotonic()
    assert handle.ask() is None
    with pytest.raises(NotReadyError, match=r"was not ready within 0\.2 s: it is running"):
        handle.wait_ready(0.2)
    monkeypatch.setattr(services, "_STATE_SECONDS", 0.1)
    monkeypatch.setattr(engine.api, "inspect_container", lambda *_: over.wait(30))
    with pytest.raises(NotReadyError, match=r"was not ready within 0\.2 s: it is out of sight"):
        handle.wait_ready(0.2)
    assert time.monotonic() - started < 10
    over.set()


def test_status_of_every_service(engine: FakeClient) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        document = EnvironmentOutputs(
            stack=_STACK,
            system="shop",
            branch="main",
            services={
                "api": _outputs(server.getsockname()[1], type="tcp"),
                "db": _outputs(free_port("127.0.0.1"), type="tcp"),
                "worker": _outputs(),
            },
        )
        api, worker, db = services.statuses(engine, document, {"api": True, "worker": False, "db": True})
    assert (api.state, api.up, api.required) == ("running", True, True)
    assert api.latency_ms is not None
    assert (db.state, db.up, db.latency_ms) == ("running", False, None), "it runs and does not answer"
    assert (worker.state, worker.up, worker.required) == ("missing", False, False)


def test_service_that_publishes_nothing_is_asked_inside(engine: FakeClient) -> None:
    document = EnvironmentOutputs(
        stack=_STACK, system="shop", branch="main", services={"api": _outputs(type="exec", command=["check"])}
    )
    (api,) = services.statuses(engine, document, {})
    assert api.up
    assert api.latency_ms is not None
    engine.api.exit_codes[f"{_API}: check"] = 1
    (api,) = services.statuses(engine, document, {})
    assert (api.state, api.up, api.latency_ms) == ("running", False, None)


@pytest.mark.parametrize(("health", "up"), [("healthy", True), ("starting", True), ("unhealthy", False)])
def test_service_that_docker_finds_unhealthy_is_not_up(engine: FakeClient, health: str, up: bool) -> None:
    engine.api.states[_API]["Health"] = {"Status": health}
    document = EnvironmentOutputs(
        stack=_STACK, system="shop", branch="main", services={"api": _outputs(type="exec", command=["check"])}
    )
    (api,) = services.statuses(engine, document, {})
    assert (api.health, api.up) == (health, up)


def test_service_that_never_became_ready_is_not_up_though_it_runs(engine: FakeClient) -> None:
    known = ServiceOutputs(container=f"{_STACK}-api", image="i")
    document = EnvironmentOutputs(stack=_STACK, system="shop", branch="main", services={"api": known})
    (api,) = services.statuses(engine, document, {})
    assert (api.state, api.up) == ("running", False)


def test_container_that_is_removed_while_it_is_looked_at_is_missing(
    engine: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.api.states.clear()
    document = EnvironmentOutputs(stack=_STACK, system="shop", branch="main", services={"api": _outputs(type="tcp")})
    (api,) = services.statuses(engine, document, {})
    assert (api.state, api.up) == ("missing", False)


def test_ended_service_is_not_up(engine: FakeClient) -> None:
    engine.api.end(_API, 1, event=False)
    document = EnvironmentOutputs(stack=_STACK, system="shop", branch="main", services={"api": _outputs()})
    (api,) = services.statuses(engine, document, {})
    assert (api.state, api.up) == ("exited", False)


@pytest.mark.parametrize(
    ("mark", "exit_code", "done"),
    [({labels.ONE_SHOT: "true"}, 0, True), ({labels.ONE_SHOT: "true"}, 1, False), ({}, 0, False)],
)
def test_one_shot_that_ended_well_is_up(engine: FakeClient, mark: dict[str, str], exit_code: int, done: bool) -> None:
    whose = {**marks(_STACK, identity.backend_id(), "setup"), **mark}
    engine.api.add("container", f"{_STACK}-setup", whose, State="exited", Status=f"Exited ({exit_code}) 2 hours ago")
    engine.api.end(f"{_STACK}-setup-id", exit_code, event=False)
    described = ServiceOutputs(container=f"{_STACK}-setup", image="i", readiness={"type": "exit_zero"})
    document = EnvironmentOutputs(stack=_STACK, system="shop", branch="main", services={"setup": described})
    (setup,) = services.statuses(engine, document, {})
    assert (setup.state, setup.done, setup.up) == ("exited", done, done)


def test_one_shot_that_ended_badly_is_waited_for_no_longer(engine: FakeClient) -> None:
    engine.api.end(_API, 3, event=False)
    with pytest.raises(
        NotReadyError, match="service 'api' of shop-main did not end well: it is exited with exit code 3"
    ):
        _handle(engine, outputs=_outputs(type="exit_zero")).wait_ready(3600)


def test_lines_of_all_services_are_sorted_by_time(engine: FakeClient) -> None:
    engine.api.log_texts[_API] = "2026-01-02T03:04:05.123456789Z second line\n2026-01-02T03:04:06.5Z\n"
    engine.api.log_texts[f"{_STACK}-db-id"] = "2026-01-02T03:04:04Z first\n"
    lines = list(services.log_lines(engine, _STACK, None))
    assert [(of, line.text) for of, line in lines] == [("db", "first"), ("api", "second line"), ("api", "")]
    assert lines[1][1].time == datetime(2026, 1, 2, 3, 4, 5, 123456, tzinfo=UTC)
    assert len(list(services.log_lines(engine, _STACK, "db"))) == 1


def test_line_without_a_time_is_an_error(engine: FakeClient) -> None:
    engine.api.log_pieces[_API] = [(1, b"hello there\n")]
    with pytest.raises(EngineError, match="has no time: 'hello'"):
        list(services.log_lines(engine, _STACK, None))
