from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.__main__ import chosen, main
from benchmarks.recording import startable
from benchmarks.tools.ephemera import PROJECT
from benchmarks.workload import WORKLOADS, service_of
from ephemera import check_policy
from ephemera.model.catalog import Manifest, Service
from ephemera.model.errors import UnknownNameError
from ephemera.model.outputs import ServiceOutputs
from ephemera.model.system import load_systems
from ephemera.resources.manifests import Manifests
from tests.unit.benchmarks.doubles import API, CACHE, inspected

_OUTPUTS = ServiceOutputs(container="shop-cache", image="sha256:1", readiness={"type": "redis"})
_SYSTEM = Manifest(suite="tests", services={"db": Service(), "cache": Service(requires=("db",))})
_IMAGE = {"Id": "sha256:1", "RepoTags": ["ephemera/redis:1"], "RepoDigests": [], "Config": {"Env": ["PATH=/bin"]}}


@pytest.fixture
def catalog(monkeypatch: pytest.MonkeyPatch) -> Iterator[Manifests]:
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield Manifests(load_systems(PROJECT).values())
    sys.modules.pop("measured")


def test_service_is_what_the_engine_runs() -> None:
    found = service_of(_SYSTEM, _OUTPUTS, "cache", inspected(), _IMAGE)
    assert found.image == "ephemera/redis:1"
    assert found.variables == {"REVISION": "1", "PASSWORD": "x=y"}, "the image's own are not given again"
    assert found.ports == (81, 6379)
    assert (found.health.interval, found.health.start_period) == (5.0, 0.5)
    assert found.health.command == ("redis-cli", "ping")
    assert found.volumes == ("/data",)
    assert found.requires == ("db",)
    assert found.readiness == {"type": "redis"}


@pytest.mark.parametrize(
    ("tags", "digests", "reference"),
    [([], ["redis@sha256:2"], "redis@sha256:2"), (None, None, "sha256:1")],
    ids=["pulled by digest", "without a name"],
)
def test_image_without_a_tag_goes_by_what_it_has(
    tags: list[str] | None, digests: list[str] | None, reference: str
) -> None:
    image = {**_IMAGE, "RepoTags": tags, "RepoDigests": digests}
    assert service_of(_SYSTEM, _OUTPUTS, "cache", inspected(), image).image == reference


def test_services_come_after_what_they_require() -> None:
    assert [service.name for service in startable({"api": API, "cache": CACHE})] == ["cache", "api"]


def test_workloads_are_systems_of_the_project_with_the_option_that_changes(catalog: Manifests) -> None:
    assert {workload.name for workload in WORKLOADS} == set(catalog)
    for workload in WORKLOADS:
        assert str(catalog[workload.name].options[workload.change.option].default) == workload.change.values[0]
        assert workload.change.service in catalog[workload.name].services


def test_measured_system_keeps_the_policy(catalog: Manifests) -> None:
    check_policy(catalog.system("postgres-redis"))


def test_what_is_not_named_of_a_kind_is_all_of_it() -> None:
    everything = chosen([])
    assert len(everything[0]) == 5
    assert everything[1] == ("postgres-redis", "tasker")
    assert chosen(["tasker"]) == (everything[0], ("tasker",))
    assert chosen(["compose", "ephemera"]) == (("ephemera", "compose"), everything[1])


def test_unknown_name_is_refused_before_anything_is_done(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="'composer'"):
        chosen(["composer"])
    assert main(["--only", "composer", "--output", str(tmp_path / "out.json")]) == 2
    assert "composer" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_result_that_could_not_be_written_is_refused_at_once(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["--output", str(tmp_path / "missing" / "out.json")]) == 2
    assert "cannot be written" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("arguments", [["--runs", "0"], ["--runs", "x"], ["--together", "4,"], ["--runs", "-1"]])
def test_number_that_is_none_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert "is no number of at least 1" in capsys.readouterr().err
