from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ephemera.model.catalog import Manifest, Option, Service, Source, find_system, from_document
from ephemera.model.errors import InputError, UnknownNameError
from ephemera.model.images import EngineImage, ServiceImage
from ephemera.model.runner import Runner
from tests.unit.doubles import SHOP


@pytest.mark.parametrize(
    ("only", "profiles", "selected"),
    [
        ((), (), ("db", "api", "worker")),
        ((), ("scale",), ("db", "api", "worker", "extra")),
        ((), ("lab", "scale"), ("db", "api", "worker", "extra", "lab")),
        (("db",), (), ("db",)),
        (("worker",), (), ("db", "api", "worker")),
        (("worker", "db"), (), ("db", "api", "worker")),
        (("extra",), (), ("db", "extra")),
        (("api",), ("lab",), ("db", "api", "lab")),
        (("lab",), ("scale",), ("db", "extra", "lab")),
    ],
)
def test_selected_services_with_what_they_require(
    only: tuple[str, ...], profiles: tuple[str, ...], selected: tuple[str, ...]
) -> None:
    assert SHOP.selected(only=only, profiles=profiles) == selected


def test_unknown_service_or_profile_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="unknown service 'wroker': did you mean 'worker'"):
        SHOP.selected(only=["wroker"])
    with pytest.raises(UnknownNameError, match=r"unknown profile 'big'.*known: lab, scale"):
        SHOP.selected(profiles=["big"])


def test_manifest_survives_the_way_through_its_document(tmp_path: Path) -> None:
    image = ServiceImage(name="shop", context=tmp_path, bases={"BASE": EngineImage(name="python")})
    services = {
        "api": Service(requires=("db",), uses={"URL": ("db",)}, source=Source(folder=tmp_path, target="/srv")),
        "tests": Service(profile="testing", runner=Runner(image=image, coverage=("shop",))),
    }
    manifest = Manifest(suite="tests", services=services, images=(image, *SHOP.images), options=SHOP.options)
    assert from_document(json.loads(json.dumps(manifest.document()))) == manifest


@pytest.mark.parametrize(("default", "kind"), [("x", "string"), (True, "boolean"), (5, "integer")])
def test_option_has_the_type_of_its_default(default: str | bool | int, kind: str) -> None:
    assert Option(default, "it").type == kind


@pytest.mark.parametrize("default", [None, 0.5, ["x"]])
def test_option_of_another_type_is_refused(default: Any) -> None:
    with pytest.raises(
        InputError, match=r"default of an option is .*: it must be a text, True, False or a whole number"
    ):
        Option(default, "it")


def test_unknown_system_is_refused_with_the_nearest() -> None:
    assert find_system({"shop": SHOP}, "shop") is SHOP
    with pytest.raises(UnknownNameError, match="unknown system 'shp': did you mean 'shop'"):
        find_system({"shop": SHOP}, "shp")
