"""What a rehearsal finds out about a program: services, images, and what depends on what."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pulumi
import pytest

from ephemera import Container, EngineImage, Environment, Exec, Runner, Source, System
from ephemera.model.catalog import Manifest, Service
from ephemera.model.errors import InputError, UnknownNameError
from ephemera.model.images import PublicImage
from ephemera.resources.rehearsal import manifest_of
from tests.unit import programs
from tests.unit.doubles import SHOP, FakeClient, shop
from tests.unit.programs import OpenGates

_IMAGE = EngineImage(name="postgres")


def _container(name: str, **given: Any) -> Container:
    return Container(name, **{"image": _IMAGE, "ready": Exec(["true"]), "run_as": "1000", **given})


def _rehearsed(program: Callable[[Environment], object], **given: Any) -> Manifest:
    system = System("shop", **given)
    system.program(program)
    return manifest_of(system)


def test_manifest_is_what_the_program_declares() -> None:
    assert manifest_of(shop) == SHOP


def test_use_of_an_output_is_a_requirement() -> None:
    def program(_environment: Environment) -> None:
        database = _container("db")
        cache = _container("cache")
        url = database.started.apply(lambda known: f"db://{known}")
        both = pulumi.Output.concat(url, "?cache=", cache.started)
        _container("api", variables={"URL": url, "PLAIN": "x", "SECRET": pulumi.Output.secret("y")})
        _container("worker", command=["work", both])

    services = _rehearsed(program).services
    assert services["api"] == Service(requires=("db",), uses={"URL": ("db",)})
    assert services["worker"].requires == ("cache", "db")


def test_what_is_wanted_is_no_requirement_and_goes_with_its_variables(docker: FakeClient, gates: OpenGates) -> None:
    docker.api.images["ephemera/image-0:1"] = "app"

    def program(_environment: Environment) -> None:
        search = _container("search")
        address = search.started.apply(lambda _: "http://search")
        _container("api", wants=[search], variables={"SEARCH": address, "A": "b"})

    manifest = _rehearsed(program)
    assert manifest.services["api"] == Service(wants=("search",), uses={"SEARCH": ("search",)})
    assert manifest.selected(only=["api"]) == ("api",)

    def run(**settings: Any) -> programs.Registered:
        return programs.run(lambda: program(programs.environment(manifest, **settings)))

    alone, whole = run(only=("api",)), run()
    assert alone.names("container:Container") == ["api"]
    assert alone.names("index:Container") == ["api"]
    assert alone.container("api")["envs"] == ["A=b"]
    assert whole.names("container:Container") == ["search", "api"]
    assert whole.container("api")["envs"] == ["A=b", "SEARCH=http://search"]


def test_service_that_is_left_out_is_checked_all_the_same(gates: OpenGates) -> None:
    def program(_environment: Environment) -> None:
        _container("api")
        _container("lab", profile="lab", memory_mb=0)

    with pytest.raises(InputError, match="memory_mb of service 'lab' is 0"):
        programs.run(lambda: program(programs.environment()))


def test_profile_source_and_images_are_found(tmp_path: Path) -> None:
    source = Source(folder=tmp_path, target="/srv")

    def program(_environment: Environment) -> None:
        _container("api", source=source)
        _container("extra", profile="scale", image="docker.io/library/nats:2")
        _container("more", profile="scale", required=True)

    runner = Runner(image=_IMAGE)
    manifest = _rehearsed(program, runner=runner)
    assert manifest.services == {
        "api": Service(source=source),
        "extra": Service(profile="scale", required=False),
        "more": Service(profile="scale"),
        "tests": Service(profile="testing", required=False, runner=runner),
    }
    assert manifest.images == (_IMAGE, PublicImage(reference="docker.io/library/nats:2"))


@pytest.mark.parametrize(
    ("program", "given", "message"),
    [
        (lambda _: [_container("api"), _container("api")], {}, "service 'api' is made twice"),
        (lambda _: _container("tests"), {"runner": Runner(image=_IMAGE)}, "'tests' has the name of the runner"),
        (lambda _: _container("api"), {"fixed_ports": {"test": {"web.http": 80}}}, "unknown endpoint in fixed_ports"),
        (lambda _: _container("Api"), {}, "service name 'Api' is not valid"),
        (lambda environment: environment.option("level"), {}, "unknown option 'level'"),
    ],
)
def test_program_that_cannot_work_is_refused(program: Any, given: dict[str, Any], message: str) -> None:
    with pytest.raises((InputError, UnknownNameError), match=message):
        _rehearsed(program, **given)


def test_system_without_a_program_is_refused() -> None:
    with pytest.raises(InputError, match=r"system 'shop' has no program: decorate a function with @shop.program"):
        manifest_of(System("shop"))


def test_component_outside_of_a_program_is_refused() -> None:
    with pytest.raises(InputError, match="made outside of a system's program"):
        programs.run(lambda: _container("api"))
