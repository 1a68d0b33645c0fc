from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ephemera.docker.address import Address
from ephemera.docker.mounts import mounted, refuse_unmountable
from ephemera.model.catalog import Manifest, Service, Source
from ephemera.model.errors import InputError
from ephemera.model.settings import Settings
from tests.unit.doubles import SHOP

_HERE = Address(url="unix:///var/run/docker.sock")


@pytest.fixture
def system(tmp_path: Path) -> Manifest:
    """The shop, with sources of two services, one of them in a profile."""
    source = Source(folder=tmp_path, target="/opt/app")
    services = {"api": Service(source=source), "extra": Service(profile="scale", source=source)}
    return replace(SHOP, services={**SHOP.services, **services})


def _settings(**given: object) -> Settings:
    return Settings.model_validate({"system": "shop", "branch": "main", "development": True, **given})


def test_sources_of_selected_services_are_mounted_in_development_mode_alone(system: Manifest) -> None:
    assert list(mounted(system, _settings())) == ["api"]
    assert list(mounted(system, _settings(profiles=("scale",)))) == ["api", "extra"]
    assert mounted(system, _settings(only=("db",))) == {}
    assert mounted(system, _settings(development=False)) == {}


@pytest.mark.parametrize(
    ("engine", "settings", "variables", "what"),
    [
        (_HERE, {}, {"CI": "true"}, "not for CI"),
        (Address(url="ssh://me@far"), {}, {}, "cannot be mounted on that of the Docker engine at ssh://me@far"),
        (Address(url="tcp://192.0.2.1:2376"), {}, {}, "cannot be mounted"),
        (_HERE, {"only": ("db",)}, {}, "no service of 'shop' to start has a source folder"),
    ],
)
def test_it_is_refused_where_it_cannot_be(
    system: Manifest, engine: Address, settings: dict[str, object], variables: dict[str, str], what: str
) -> None:
    with pytest.raises(InputError, match=what):
        refuse_unmountable(_settings(**settings), system, engine, variables)
    refuse_unmountable(_settings(**settings, development=False), system, engine, variables)


def test_folder_that_is_not_there_is_named(system: Manifest, tmp_path: Path) -> None:
    refuse_unmountable(_settings(), system, _HERE, {})
    tmp_path.rmdir()
    with pytest.raises(InputError, match=f"source folder {tmp_path} of service 'api' is not there"):
        refuse_unmountable(_settings(), system, _HERE, {})
