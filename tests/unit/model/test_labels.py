from __future__ import annotations

from ephemera.model import labels
from ephemera.model.labels import Identity
from tests.unit.doubles import IDENTITY


def test_six_labels_tell_whose_an_object_is() -> None:
    assert IDENTITY.labels() == {
        "ephemera.project": "ephemera",
        "ephemera.stack": "shop-main",
        "ephemera.system": "shop",
        "ephemera.branch": "main",
        "ephemera.owner": "me@here",
        "ephemera.backend": "0123456789ab",
    }


def test_identity_is_read_back_from_an_objects_labels() -> None:
    found = {**IDENTITY.labels(), labels.SERVICE: "api", "com.docker.compose.project": "other"}
    assert Identity.of(found) == IDENTITY


def test_absent_labels_are_empty() -> None:
    assert set(Identity.of({}).labels().values()) == {""}
    assert Identity.of({labels.STACK: "shop-main"}).stack == "shop-main"
