from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import docker
import pytest
from docker.errors import APIError

from ephemera.contract import labels
from ephemera.home.locks import locked
from ephemera.images import drop_intermediates

_SINCE = 1_700_000_000.0


@dataclass
class _Api:
    """An engine with containers and untagged images; those in ``refused`` answer with that status."""

    listed_containers: list[dict[str, Any]] = field(default_factory=list)
    listed_images: list[dict[str, Any]] = field(default_factory=list)
    refused: dict[str, int] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)

    def containers(self, *, all: bool, filters: dict[str, Any]) -> list[dict[str, Any]]:
        assert all
        return [item for item in self.listed_containers if filters["label"] in item["Labels"]]

    def images(self, *, filters: dict[str, Any]) -> list[dict[str, Any]]:
        assert filters["dangling"]
        return [item for item in self.listed_images if filters["label"] in (item["Labels"] or {})]

    def remove_container(self, name: str, *, force: bool) -> None:
        assert force
        self.remove_image(name)

    def remove_image(self, name: str) -> None:
        if name in self.refused:
            response = SimpleNamespace(status_code=self.refused[name], reason="refused")
            raise APIError("refused", response=response)
        self.removed.append(name)


@pytest.fixture
def api() -> _Api:
    return _Api()


def _drop(api: _Api, *names: str) -> list[str]:
    return drop_intermediates(cast(docker.DockerClient, SimpleNamespace(api=api)), names, _SINCE)


def _item(identifier: str, name: str, created: Any = int(_SINCE) + 1, **more: str) -> dict[str, Any]:
    return {"Id": identifier, "Image": f"sha256:{0:064}", "Created": created, "Labels": {labels.IMAGE: name, **more}}


def test_containers_of_steps_and_untagged_layers_of_these_images_go(api: _Api) -> None:
    api.listed_containers = [_item("step", "api"), _item("other-step", "worker")]
    api.listed_images = [_item("layer", "api"), _item("other-layer", "worker")]
    assert _drop(api, "api") == api.removed == ["step", "layer"]


def test_what_was_there_before_stays(api: _Api) -> None:
    api.listed_images = [_item("old", "api", int(_SINCE) - 1), _item("new", "api", "2023-11-14T22:13:21Z")]
    assert _drop(api, "api") == ["new"]


@pytest.mark.parametrize(("image", "removed"), [("ephemera/api:1aeb96341a4f", []), ("0c2cbeb0b9e4", ["step"])])
def test_container_that_somebody_runs_is_none_of_a_build(api: _Api, image: str, removed: list[str]) -> None:
    api.listed_containers = [{**_item("step", "api"), "Image": image}]
    assert _drop(api, "api") == removed


def test_container_of_an_environment_is_none_of_a_build(api: _Api) -> None:
    api.listed_containers = [_item("service", "api", **{labels.STACK: "shop-main"})]
    assert _drop(api, "api") == []


@pytest.mark.parametrize("status", [404, 409])
def test_what_is_gone_or_in_use_meanwhile_is_left(api: _Api, status: int) -> None:
    api.listed_containers = [_item("step", "api")]
    api.listed_images = [_item("layer", "api")]
    api.refused = {"step": status, "layer": status}
    assert _drop(api, "api") == []


def test_engine_that_is_broken_is_not_taken_for_done(api: _Api) -> None:
    api.listed_images = [_item("layer", "api")]
    api.refused = {"layer": 500}
    with pytest.raises(APIError):
        _drop(api, "api")


def test_image_that_somebody_builds_is_left_alone_and_a_dead_builders_lock_goes(api: _Api, home: Path) -> None:
    api.listed_images = [_item("layer", "api"), _item("layer-2", "worker")]
    locks = home / "cache" / "ephemera" / "locks"
    locks.mkdir(parents=True)
    (locks / "image-ephemera_worker:0123.lock").touch()
    with locked(locks / "image-ephemera_api:4567.lock"):
        assert _drop(api, "api", "worker") == ["layer-2"]
    assert [path.name for path in locks.iterdir()] == ["image-ephemera_api:4567.lock"]
    assert _drop(api, "api") == ["layer"]
