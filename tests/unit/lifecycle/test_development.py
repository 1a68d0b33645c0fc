from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ephemera import lifecycle
from ephemera.home import identity
from ephemera.lifecycle import Request, development
from ephemera.lifecycle.development import Reload, Reloader, Sources
from ephemera.model.catalog import Manifest, Service, Source
from ephemera.model.errors import InputError
from ephemera.model.images import ServiceImage
from ephemera.model.outputs import EnvironmentOutputs, ServiceOutputs
from ephemera.model.settings import Settings
from ephemera.pulumi.workspace import Workspace
from tests.unit.doubles import SHOP, FakeApi, FakeClient, marks

_STACK = "shop-main"
_COMMAND = ("reload",)


class _Api(FakeApi):
    """An engine on which restarts do what the test says: ``fates`` by service, exit codes in turn, None for running.
    ``processes``: ids of a container's second process, in turn; beside it are ever new ones of health checks."""

    def __init__(self) -> None:
        super().__init__()
        self.fates: dict[str, list[int | None]] = {}
        self.restarted: list[str] = []
        self.processes: dict[str, list[str]] = {}
        self._visitors = itertools.count(70)

    def restart(self, container: str, timeout: int) -> None:
        service = container.removeprefix(f"{_STACK}-").removesuffix("-id")
        self.restarted.append(service)
        fates = self.fates.get(service) or [None]
        if (code := fates.pop(0)) is None:
            self.run(container)
        else:
            self.end(container, code, event=False)

    def run(self, container: str) -> None:
        super().run(container)
        self.states[container]["Pid"] = 1

    def top(self, container: str, ps_args: str) -> dict[str, Any]:
        assert ps_args == "-eo pid,ppid"
        turns = self.processes[container]
        return {
            "Processes": [
                ["1", "0"],
                [turns.pop(0) if len(turns) > 1 else turns[0], "1"],
                [str(next(self._visitors)), "0"],
            ]
        }


@pytest.fixture
def engine() -> FakeClient:
    """All services of the shop, running."""
    api = _Api()
    for service in SHOP.services:
        api.add("container", f"{_STACK}-{service}", marks(_STACK, identity.backend_id(), service))
        api.run(f"{_STACK}-{service}-id")
    return FakeClient(api)


def _reloader(
    engine: FakeClient,
    sources: Mapping[str, Source],
    *,
    superseded: Callable[[], bool] = lambda: False,
    finishes: tuple[str, ...] = (),
) -> Reloader:
    def outputs(service: str) -> ServiceOutputs:
        readiness = {"type": "exit_zero"} if service in finishes else {"type": "exec", "command": ["ask", service]}
        return ServiceOutputs(container=f"{_STACK}-{service}", image="i", readiness=readiness)

    services = {service: outputs(service) for service in SHOP.services}
    document = EnvironmentOutputs(stack=_STACK, system="shop", branch="main", services=services)
    return Reloader(engine, document, SHOP, sources, superseded)


def _sources(*services: str, **given: Any) -> dict[str, Source]:
    return {service: Source(folder=Path("/src"), target="/opt/app", **given) for service in services}


def _reload(reloader: Reloader, *services: str, seconds: float = 5.0) -> dict[str, Reload]:
    told: list[Reload] = []
    results = reloader.reload(services, told.append, seconds)
    assert sorted(told, key=lambda each: each.service) == sorted(results, key=lambda each: each.service)
    return {result.service: result for result in results}


def test_restarted_services_are_live_when_they_answer(engine: FakeClient) -> None:
    results = _reload(_reloader(engine, _sources("api", "worker")), "api", "worker")
    assert sorted(engine.api.restarted) == ["api", "worker"]  # type: ignore[attr-defined]
    assert all(result.live for result in results.values())


def test_service_that_exits_has_failed_at_once_and_those_that_need_it_do_not_wait(engine: FakeClient) -> None:
    engine.api.fates["api"] = [1]  # type: ignore[attr-defined]
    engine.api.exit_codes[f"{_STACK}-worker-id: ask worker"] = 1
    results = _reload(_reloader(engine, _sources("api", "worker")), "api", "worker", seconds=60)
    assert results["api"].problem == "it exited with code 1"
    assert results["worker"].problem == "it waits for api"


def test_service_that_fails_while_what_it_needs_comes_up_is_started_once_more(engine: FakeClient) -> None:
    engine.api.fates["worker"] = [1, None]  # type: ignore[attr-defined]
    results = _reload(_reloader(engine, _sources("api", "worker")), "api", "worker")
    assert engine.api.restarted.count("worker") == 2  # type: ignore[attr-defined]
    assert results["worker"].live


def test_one_that_never_answers_fails_after_the_time_or_is_superseded_before(engine: FakeClient) -> None:
    engine.api.exit_codes[f"{_STACK}-api-id: ask api"] = 1
    assert _reload(_reloader(engine, _sources("api")), "api", seconds=0.1)["api"].problem == "it does not answer"
    (result,) = _reload(_reloader(engine, _sources("api"), superseded=lambda: True), "api", seconds=60).values()
    assert result.superseded
    assert not result.live


def test_one_shot_is_left_alone(engine: FakeClient) -> None:
    assert _reload(_reloader(engine, _sources("api"), finishes=("api",)), "api") == {}
    assert engine.api.restarted == []  # type: ignore[attr-defined]


def test_service_that_reloads_itself_is_live_with_its_new_process(engine: FakeClient) -> None:
    engine.api.processes = {f"{_STACK}-api-id": ["10", "10", "11", "12"]}  # type: ignore[attr-defined]
    reloader = _reloader(engine, _sources("api", reload="command", command=_COMMAND))
    assert _reload(reloader, "api")["api"].live
    assert engine.api.restarted == []  # type: ignore[attr-defined]
    assert _reload(reloader, "api")["api"].live


def test_service_that_does_not_reload_itself_is_told(engine: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    container = f"{_STACK}-api-id"
    engine.api.processes = {container: ["10"]}  # type: ignore[attr-defined]
    reloader = _reloader(engine, _sources("api", reload="command", command=_COMMAND))
    result = _reload(reloader, "api", seconds=0.1)["api"]
    assert result.problem == "its command has not reloaded it"
    monkeypatch.setattr(development, "_SUCCESSION_SECONDS", 0.05)
    engine.api.processes = {container: ["1"]}  # type: ignore[attr-defined]
    assert _reload(reloader, "api")["api"].problem == "its process ended, and no other took its place"


def test_service_that_reloads_itself_is_started_where_it_has_ended(engine: FakeClient) -> None:
    container = f"{_STACK}-api-id"
    engine.api.processes = {container: ["10", "11"]}  # type: ignore[attr-defined]
    reloader = _reloader(engine, _sources("api", reload="command", command=_COMMAND))
    engine.api.end(container, 1, event=False)
    assert _reload(reloader, "api")["api"].live
    assert engine.api.restarted == ["api"]  # type: ignore[attr-defined]


@pytest.fixture
def system(tmp_path: Path) -> Manifest:
    """A system whose API's code is mounted, and whose image holds more than that."""
    for name in ("Dockerfile", "requirements.txt", "notes.md", "src/app.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / ".dockerignore").write_text("*.md\n")
    source = Source(folder=tmp_path / "src", target="/opt/app", unused=("other",))
    image = ServiceImage(name="shop-api", context=tmp_path)
    return replace(SHOP, services={"api": Service(source=source)}, images=(image,), fixed_ports={})


def test_changed_files_are_told_from_those_that_only_a_build_brings_in(system: Manifest, tmp_path: Path) -> None:
    settings = Settings(system="shop", branch="main", development=True)
    sources = Sources.of(system, settings, tmp_path / "tests")
    assert sources.trees == {tmp_path / "src", tmp_path / "tests"}
    assert sources.folders == {tmp_path}
    files = [tmp_path / name for name in ("src/app.py", "src/other/x.py", "requirements.txt", "notes.md", "tests/a.py")]
    assert sources.changed(files) == {"api": ["app.py"]}
    assert sources.to_build(files) == {"shop-api": ["requirements.txt"]}
    assert sources.tests_changed(files)
    assert not Sources.of(system, settings, None).tests_changed(files)
    (tmp_path / "Dockerfile").unlink()  # an editor is about to write it anew
    assert sources.to_build([tmp_path / "Dockerfile"]) == {"shop-api": ["Dockerfile"]}


@pytest.fixture
def developed(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A project whose shop has a source to mount, on a local engine, and whose environment is in development mode."""
    monkeypatch.setenv("DOCKER_HOST", "unix:///var/run/docker.sock")
    monkeypatch.delenv("CI", raising=False)
    source = Source(folder=tmp_path, target="/opt/app")
    workspace.__dict__["catalog"] = {"shop": replace(SHOP, services={**SHOP.services, "api": Service(source=source)})}
    workspace.write_config(_STACK, {"system": "shop", "branch": "main", "development": "true", "level": "debug"})
    return workspace


def test_next_up_does_not_inherit_development_mode(developed: Workspace) -> None:
    _, _, settings = lifecycle.plan(developed, Request(system="shop", branch="main"))
    assert not settings.development
    assert settings.options["level"] == "debug", "all else is inherited"
    wanted = Request(system="shop", branch="main", config={"development": "true"})
    assert lifecycle.plan(developed, wanted)[2].development


@pytest.mark.parametrize("phase", ["disposable", "pooled"])
def test_neither_test_runs_nor_pools_are_in_development_mode(developed: Workspace, phase: Any) -> None:
    wanted = Request(system="shop", branch="main", config={"development": "true"}, phase=phase)
    with pytest.raises(InputError, match="of a branch's own environment"):
        lifecycle.plan(developed, wanted)
