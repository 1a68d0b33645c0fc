"""What reference an image goes by, in both modes, and what changes it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from ephemera.contract.errors import InputError, UnknownNameError
from ephemera.contract.images import AnyImage, EngineImage, PublicImage, ServiceImage
from ephemera.images import recipes, references
from ephemera.images.errors import ImageMissingError
from ephemera.images.recipes import Recipe
from ephemera.images.references import resolve

PYTHON = EngineImage(name="python")


@pytest.fixture
def service(tmp_path: Path) -> ServiceImage:
    context = tmp_path / "worker"
    context.mkdir()
    (context / "Dockerfile").write_text("ARG PYTHON_IMAGE\nFROM ${PYTHON_IMAGE}\n")
    (context / "app.py").write_text("print(1)\n")
    return ServiceImage(name="tasker-worker", context=context, bases={"PYTHON_IMAGE": PYTHON})


def lock(monkeypatch: pytest.MonkeyPatch, **digests: str) -> None:
    monkeypatch.setattr(recipes, "digests", lambda: digests)


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
def test_a_locked_digest_takes_the_place_of_the_tag(
    monkeypatch: pytest.MonkeyPatch, reference: str, pinned: str
) -> None:
    lock(monkeypatch, **{reference: "sha256:1"})
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


def test_another_base_is_another_image(service: ServiceImage, monkeypatch: pytest.MonkeyPatch) -> None:
    upon = ServiceImage(name="upon", context=service.context, bases={"BASE": service})
    before = resolve(upon, "registry")
    assert resolve(upon, "local") != before
    lock(monkeypatch, **{"python:3.12-slim": "sha256:1"})
    assert resolve(upon, "registry") != before


def test_the_authorities_of_the_machine_are_part_of_the_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = resolve(PYTHON, "local")
    bundle = tmp_path / "ca.crt"
    bundle.write_text("another")
    monkeypatch.setattr(references, "CA_BUNDLE", bundle)
    assert resolve(PYTHON, "local") != before


def test_an_engine_without_a_recipe_needs_a_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(references, "recipe", lambda name: Recipe(name=name, official="grafana/grafana:11"))
    assert resolve(EngineImage(name="grafana"), "registry") == "grafana/grafana:11"
    with pytest.raises(ImageMissingError, match="'grafana/grafana:11' is not to be had: there is no local recipe"):
        resolve(EngineImage(name="grafana"), "local")


def test_an_unknown_engine_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="unknown engine image 'postgers': did you mean 'postgres'"):
        resolve(EngineImage(name="postgers"), "local")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(recipes, "data_dir", lambda _: tmp_path)
    recipes.recipes.cache_clear()
    recipes.digests.cache_clear()
    return tmp_path


@pytest.fixture(autouse=True)
def _fresh() -> None:
    recipes.recipes.cache_clear()
    recipes.digests.cache_clear()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[nats]\nimage = "nats:2"\n', r"\[nats\] has unknown keys \['image'\]: use official, recipe, bases"),
        ('[nats]\nrecipe = "nats"\n', r"recipe of \[nats\] is no folder: make .*nats or drop the key"),
    ],
)
def test_a_wrong_entry_is_refused(folder: Path, text: str, message: str) -> None:
    (folder / "engines.toml").write_text(text)
    with pytest.raises(InputError, match=message):
        recipes.recipes()


def test_no_lock_file_is_no_digest(folder: Path) -> None:
    assert recipes.digests() == {}
    (folder / "images.lock").write_text('"nats:2" = "sha256:1"\n')
    recipes.digests.cache_clear()
    assert recipes.digests() == {"nats:2": "sha256:1"}
