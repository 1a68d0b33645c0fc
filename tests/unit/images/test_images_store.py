"""What is listed and pruned on an engine that others use, too."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from docker.errors import APIError

from ephemera.docker import connection
from ephemera.home import identity
from ephemera.images import ImageTakenError, making, prune, stored
from ephemera.model import labels


@dataclass
class _Api:
    """An engine with images: tags and labels by id; ``used``: image of a container."""

    listed: dict[str, tuple[list[str], dict[str, str]]]
    used: str = ""
    refused: dict[str, int] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)

    def images(self, *, filters: dict[str, Any]) -> list[dict[str, Any]]:
        assert filters == {"label": labels.IMAGE}
        return [
            {"Id": identifier, "RepoTags": tags or ["<none>:<none>"], "Labels": marks, "Size": 1}
            for identifier, (tags, marks) in self.listed.items()
        ]

    def containers(self, *, all: bool) -> list[dict[str, Any]]:
        assert all
        return [{"ImageID": self.used, "Names": ["/web"]}] if self.used else []

    def inspect_image(self, identifier: str) -> dict[str, Any]:
        return {"RootFS": {"Layers": [identifier]}, "Config": {"Labels": self.listed[identifier][1]}}

    def remove_image(self, name: str) -> None:
        self.removed.append(name)
        if status := self.refused.get(name):
            raise APIError("refused", response=SimpleNamespace(status_code=status, reason="refused", url=name))


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> _Api:
    ours, theirs = labels.of_image("api", identity.backend_id()), labels.of_image("api", "0123456789ab")
    api = _Api(
        {
            "ours": (["ephemera/api:1"], ours),
            "our-stage": ([], ours),
            "theirs": (["ephemera/api:2"], theirs),
            "their-stage": ([], theirs),
            "of-earlier-versions": (["ephemera/api:3"], {labels.IMAGE: "api"}),
            "made-from-ours": (["shop/api:1", "ephemera/worker:1"], ours),
            "kept-as": (["mine:1", "ephemera/api:4"], ours),
        }
    )
    monkeypatch.setattr(connection, "connect", lambda: SimpleNamespace(api=api, close=lambda: None))
    return api


def test_only_images_of_this_backend_are_pruned_and_only_tags_of_ours(api: _Api) -> None:
    assert {image.id for image in prune()} == {"ours", "our-stage", "kept-as"}
    assert sorted(api.removed) == ["ephemera/api:1", "ephemera/api:4", "our-stage"]


def test_image_that_went_with_its_child_is_removed_and_one_that_is_used_meanwhile_is_not(api: _Api) -> None:
    api.refused = {"our-stage": 404, "ephemera/api:1": 409}
    assert {image.id for image in prune()} == {"our-stage", "kept-as"}


def test_images_in_use_stay(api: _Api) -> None:
    api.used = "ours"
    assert {image.id for image in prune()} == {"our-stage", "kept-as"}


def test_list_says_which_are_this_users(api: _Api) -> None:
    found = {image.id: (image.reference, image.ours) for image in stored()}
    assert found == {
        "ours": ("ephemera/api:1", True),
        "our-stage": (None, True),
        "theirs": ("ephemera/api:2", False),
        "their-stage": (None, False),
        "of-earlier-versions": ("ephemera/api:3", False),
        "kept-as": ("ephemera/api:4", True),
    }


def test_image_that_another_user_built_is_there_and_a_foreign_one_is_refused(api: _Api) -> None:
    client: Any = SimpleNamespace(api=api)
    assert making.present(client, "theirs", "api")
    with pytest.raises(
        ImageTakenError, match=r"that ephemera did not make \(its label ephemera.image is 'api'\): .*rmi"
    ):
        making.present(client, "theirs", "worker")
    api.listed["foreign"] = (["ephemera/api:5"], {})
    with pytest.raises(ImageTakenError, match=r"\(it has no label ephemera.image\)"):
        making.present(client, "foreign", "api")
    assert making.present(client, "foreign")  # one that is pulled is anybody's
