from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from docker.errors import APIError, ImageNotFound

from ephemera.docker import connection
from ephemera.home import builds, identity
from ephemera.images import drop_abandoned
from ephemera.model import labels
from ephemera.model.errors import MachineError

_BEFORE = int(time.time()) - 60
_LATER = int(time.time()) + 365 * 86_400
_SETTLE_SECONDS = 0.5
_REMOVED = "sha256:gone"


@dataclass
class _Api:
    """An engine with containers and untagged images; those in ``refused`` answer with that status. ``tagged``: ids of
    images with a tag. ``looks``: what happens at each look at the images, counted from 0."""

    listed_containers: list[dict[str, Any]] = field(default_factory=list)
    listed_images: list[dict[str, Any]] = field(default_factory=list)
    refused: dict[str, int] = field(default_factory=dict)
    tagged: set[str] = field(default_factory=set)
    removed: list[str] = field(default_factory=list)
    looks: dict[int, Callable[[], None]] = field(default_factory=dict)
    looked: int = 0

    def containers(self, *, all: bool, filters: dict[str, Any]) -> list[dict[str, Any]]:
        assert all
        return [item for item in self.listed_containers if set(filters["label"]) <= set(item["Labels"])]

    def images(self, *, filters: dict[str, Any]) -> list[dict[str, Any]]:
        assert filters["dangling"]
        self.looks.pop(self.looked, lambda: None)()
        self.looked += 1
        return [item for item in self.listed_images if set(filters["label"]) <= set(item["Labels"] or {})]

    def inspect_image(self, identifier: str) -> dict[str, Any]:
        if identifier == _REMOVED:
            raise ImageNotFound("gone")
        return {"RepoTags": ["ephemera/api:1"] if identifier in self.tagged else []}

    def remove_container(self, name: str, *, force: bool) -> None:
        assert force
        self.remove_image(name)

    def remove_image(self, name: str) -> None:
        if name in self.refused:
            response = SimpleNamespace(status_code=self.refused[name], reason="refused", url=name)
            raise APIError("refused", response=response)
        self.removed.append(name)
        self.listed_containers = [item for item in self.listed_containers if item["Id"] != name]
        self.listed_images = [item for item in self.listed_images if item["Id"] != name]


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> _Api:
    api = _Api()
    monkeypatch.setattr(connection, "connect", lambda: SimpleNamespace(api=api, close=lambda: None))
    return api


def _drop(api: _Api, *names: str) -> list[str]:
    """Of builds of images of these names, which were abandoned."""
    for name in names:
        _abandon(name)
    return drop_abandoned(settle_seconds=0)


def _abandon(name: str, tag: str = "0123") -> None:
    with suppress(KeyboardInterrupt), builds.exclusive(f"ephemera/{name}:{tag}") as begins:
        begins(name, connection.docker_host())
        raise KeyboardInterrupt


def _item(identifier: str, name: str, created: Any = _LATER, **more: str) -> dict[str, Any]:
    """As a list has it: a container that runs an untagged image, or an untagged image."""
    marks = {**labels.of_image(name, identity.backend_id()), **more}
    image = f"sha256:{0:064}"
    return {"Id": identifier, "Image": image, "ImageID": image, "Command": "sh", "Created": created, "Labels": marks}


def test_containers_of_steps_and_untagged_layers_of_these_images_go(api: _Api) -> None:
    api.listed_containers = [_item("step", "api"), _item("other-step", "worker")]
    api.listed_images = [_item("layer", "api"), _item("other-layer", "worker")]
    assert _drop(api, "api") == api.removed == ["step", "layer"]


def test_what_was_there_before_stays(api: _Api) -> None:
    api.listed_images = [_item("old", "api", _BEFORE), _item("new", "api")]
    assert _drop(api, "api") == ["new"]


def test_what_another_backend_builds_at_the_same_time_stays(api: _Api) -> None:
    others = {labels.BACKEND: "0123456789ab"}
    api.listed_containers = [_item("step", "api"), _item("their-step", "api", **others)]
    api.listed_images = [_item("layer", "api"), _item("their-layer", "api", **others)]
    unmarked = _item("unmarked", "api")
    del unmarked["Labels"][labels.BACKEND]
    api.listed_containers.append(unmarked)
    assert _drop(api, "api") == ["step", "layer"]


def test_what_a_build_of_another_state_folder_left_goes_by_its_own_labels(
    api: _Api, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    theirs, ours = _item("their-layer", "api"), _item("layer", "api")
    _abandon("api")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another"))
    ours["Labels"][labels.BACKEND] = identity.backend_id()
    api.listed_images = [theirs, ours]
    assert drop_abandoned(settle_seconds=0) == ["their-layer"]


def test_container_that_runs_a_finished_image_by_its_id_is_none_of_a_build(api: _Api) -> None:
    finished, removed = f"sha256:{1:064}", _item("of-a-removed-layer", "api")
    removed["ImageID"] = _REMOVED
    api.listed_containers = [{**_item("run-by-hand", "api"), "Image": finished, "ImageID": finished}, removed]
    api.tagged = {finished}
    assert _drop(api, "api") == ["of-a-removed-layer"]


def test_container_of_a_metadata_step_on_a_tagged_base_is_one_of_a_build(api: _Api) -> None:
    base = f"sha256:{2:064}"
    step = {**_item("step", "api"), "ImageID": base, "Command": "/bin/sh -c '#(nop) LABEL ephemera.image=api'"}
    api.listed_containers, api.tagged = [step], {base}
    assert _drop(api, "api") == ["step"]


@pytest.mark.parametrize(("image", "removed"), [("ephemera/api:1aeb96341a4f", []), ("0c2cbeb0b9e4", ["step"])])
def test_container_that_somebody_runs_is_none_of_a_build(api: _Api, image: str, removed: list[str]) -> None:
    api.listed_containers = [{**_item("step", "api"), "Image": image}]
    assert _drop(api, "api") == removed


def test_container_of_an_environment_is_none_of_a_build(api: _Api) -> None:
    api.listed_containers = [_item("service", "api", **{labels.STACK: "shop-main"})]
    assert _drop(api, "api") == []


def test_what_is_used_meanwhile_is_left(api: _Api) -> None:
    api.listed_containers = [_item("step", "api")]
    api.listed_images = [_item("layer", "api")]
    api.refused = {"step": 409, "layer": 409}
    assert _drop(api, "api") == []


def test_engine_that_is_broken_is_not_taken_for_done(api: _Api) -> None:
    api.listed_images = [_item("layer", "api")]
    api.refused = {"layer": 500}
    with pytest.raises(MachineError):
        _drop(api, "api")
    assert builds.abandoned(connection.docker_host()) != []


def test_nothing_is_asked_of_the_engine_while_no_build_is_abandoned(api: _Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "connect", lambda: pytest.fail("asked"))
    assert drop_abandoned() == []


def test_layer_that_the_engine_writes_after_its_client_is_gone_goes_too(api: _Api) -> None:
    _abandon("api")
    api.looks[1] = lambda: api.listed_images.append(_item("late", "api"))
    assert drop_abandoned(_SETTLE_SECONDS) == ["late"]
    assert builds.abandoned(connection.docker_host()) == []


def test_build_is_found_again_until_it_has_settled(api: _Api) -> None:
    _abandon("api")

    def kill() -> None:
        raise KeyboardInterrupt

    api.looks[1] = kill
    with pytest.raises(KeyboardInterrupt):
        drop_abandoned(_SETTLE_SECONDS)
    api.listed_images = [_item("late", "api")]
    assert drop_abandoned(0) == ["late"]


@pytest.mark.parametrize("tags", ["ab", "ba"])
def test_of_several_builds_of_an_image_the_oldest_counts(api: _Api, monkeypatch: pytest.MonkeyPatch, tags: str) -> None:
    for tag, now in zip(tags, (100.0, 300.0), strict=True):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        _abandon("api", tag)
    api.listed_images = [_item("of-the-first", "api", 200), _item("before", "api", 50)]
    assert drop_abandoned(0) == ["of-the-first"]


def test_what_somebody_builds_anew_is_left_to_him(api: _Api) -> None:
    _abandon("api")
    api.listed_images = [_item("layer", "api")]
    with builds.exclusive("ephemera/api:4567"):
        assert drop_abandoned(0) == []
    assert drop_abandoned(0) == ["layer"]
