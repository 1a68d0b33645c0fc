"""What reference an image goes by, in both modes, and what changes it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from ephemera.images import references
from ephemera.images.references import resolve
from ephemera.model.errors import UnknownNameError
from ephemera.model.images import AnyImage, EngineImage, PublicImage, ServiceImage

PYTHON = EngineImage(name="python")


@pytest.fixture
def service(tmp_path: Path) -> ServiceImage:
    context = tmp_path / "worker"
    context.mkdir()
    (context / "Dockerfile").write_text("ARG PYTHON_IMAGE\nFROM ${PYTHON_IMAGE}\n")
    (context / "app.py").write_text("print(1)\n")
    return ServiceImage(name="tasker-worker", context=context, bases={"PYTHON_IMAGE": PYTHON})


@pytest.fixture
def lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Lock file of the project in the working directory."""
    (tmp_path / "Pulumi.yaml").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path / "images.lock"


def test_an_engine_is_official_with_a_registry_and_built_without() -> None:
    assert resolve(EngineImage(name="postgres"), "registry") == "postgres:16-alpine"
    assert re.fullmatch(r"ephemera/postgres:[0-9a-f]{16}", resolve(EngineImage(name="postgres"), "local"))


def test_what_is_only_local_is_built_in_both_modes() -> None:
    base = resolve(EngineImage(name="base"), "local")
    assert re.fullmatch(r"ephemera/base:[0-9a-f]{16}", base)
    assert resolve(EngineImage(name="base"), "registry") == base


@pytest.mark.parametrize(
    ("reference", "pinned"),
    [
        ("postgres:16-alpine", "postgres@sha256:1"),
        ("registry.example:5000/team/app", "registry.example:5000/team/app@sha256:1"),
        ("registry.example:5000/team/app:2", "registry.example:5000/team/app@sha256:1"),
    ],
)
def test_a_locked_digest_takes_the_place_of_the_tag(lock: Path, reference: str, pinned: str) -> None:
    lock.write_text(f'"{reference}" = "sha256:1"')
    assert resolve(PublicImage(reference=reference), "registry") == pinned
    assert resolve(PublicImage(reference="nats:2"), "registry") == "nats:2"


def test_a_service_has_the_hash_of_its_sources(service: ServiceImage) -> None:
    first = resolve(service, "registry")
    assert re.fullmatch(r"ephemera/tasker-worker:[0-9a-f]{16}", first)
    assert resolve(service, "registry") == first
    (service.context / "app.py").write_text("print(2)\n")
    assert resolve(service, "registry") != first


def test_everything_a_build_is_told_is_part_of_it(service: ServiceImage) -> None:
    (service.context / "Other").write_text("FROM scratch\n")
    variants: list[AnyImage] = [
        service,
        replace(service, target="build"),
        replace(service, arguments={"EXTRA": "1"}),
        replace(service, arguments={"EXTRA": "2"}),
        replace(service, dockerfile="Other"),
        replace(service, bases={}),
        replace(service, bases={"PYTHON_IMAGE": EngineImage(name="postgres")}),
    ]
    assert len({resolve(image, "registry") for image in variants}) == len(variants)


def test_another_base_is_another_image(service: ServiceImage, lock: Path) -> None:
    upon = ServiceImage(name="upon", context=service.context, bases={"BASE": service})
    before = resolve(upon, "registry")
    assert resolve(upon, "local") != before
    lock.write_text('"python:3.12-slim" = "sha256:1"')
    assert resolve(upon, "registry") != before


def test_the_authorities_of_the_machine_are_part_of_the_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = resolve(PYTHON, "local")
    bundle = tmp_path / "ca.crt"
    bundle.write_text("another")
    monkeypatch.setattr(references, "CA_BUNDLE", bundle)
    assert resolve(PYTHON, "local") != before


def test_an_unknown_engine_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="unknown engine image 'postgers': did you mean 'postgres'"):
        resolve(EngineImage(name="postgers"), "local")
