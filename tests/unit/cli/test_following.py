from __future__ import annotations

from ephemera.cli.following import followed
from ephemera.home import identity
from ephemera.model import labels
from tests.unit.doubles import FakeClient, marks

_STACK = "shop-main"


def test_lines_are_followed_through_a_restart_until_the_environment_is_gone(docker: FakeClient) -> None:
    docker.api.add("container", "web", marks(_STACK, identity.backend_id(), "web"))
    docker.api.run("web-id")
    docker.api.log_texts["web-id"] = "2026-01-01T00:00:01Z shown before\n2026-01-01T00:00:02Z first\n"
    coming = followed(docker, _STACK, {"web": "2026-01-01T00:00:01Z"})
    service, line = next(coming)
    assert (service, line.text) == ("web", "first")
    docker.api.log_texts["web-id"] += "2026-01-01T00:00:03Z after a restart\n"
    docker.api.happen("start", "web-id", **{labels.SERVICE: "web"})
    assert next(coming)[1].text == "after a restart"
    docker.api.listed_containers.clear()
    docker.api.happen("destroy", "web-id", **{labels.SERVICE: "web"})
    assert list(coming) == []


def test_following_ends_with_the_engine(docker: FakeClient) -> None:
    coming = followed(docker, _STACK, {"web": ""})
    docker.api.end_events()
    assert list(coming) == []
