"""By hand and by driver are interchangeable: the same stack, in both directions, with no difference in a preview."""

from __future__ import annotations

import docker
import pytest

from .conftest import Ephemera

_NO_CHANGE = ("preview", "--expect-no-changes", "--diff")


def test_made_by_hand_used_and_ended_by_the_driver(ephemera: Ephemera) -> None:
    assert ephemera.pulumi("stack", "init", ephemera.stack("data")).code == 0
    made = ephemera.pulumi("up", "--yes", "--stack", ephemera.stack("data"))
    assert made.code == 0, made.out + made.err
    before = _containers(ephemera.stack("data"))
    status = ephemera("status", ephemera.stack("data"), "--output", "json")
    assert [service["up"] for service in status.json["services"]] == [True]
    (listed,) = ephemera("ls", "--output", "json").json
    assert (listed["system"], listed["branch"], listed["state"]) == (
        "data",
        ephemera.variables["EPHEMERA_BRANCH"],
        "running",
    )
    updated = ephemera("up", "data")
    assert updated.code == 0, updated.err
    assert _containers(ephemera.stack("data")) == before
    down = ephemera("down", ephemera.stack("data"), "--output", "json")
    assert down.json["leftovers"] == []
    assert ephemera.left() == []


@pytest.mark.parametrize("system", ["data", "once"])
def test_made_by_the_driver_previewed_updated_and_ended_by_hand(ephemera: Ephemera, system: str) -> None:
    assert ephemera("up", system).code == 0
    before = _containers(ephemera.stack(system))
    preview = ephemera.pulumi(*_NO_CHANGE, "--stack", ephemera.stack(system))
    assert preview.code == 0, preview.out + preview.err
    updated = ephemera.pulumi("up", "--yes", "--stack", ephemera.stack(system), "--expect-no-changes")
    assert updated.code == 0, updated.out + updated.err
    assert _containers(ephemera.stack(system)) == before
    ended = ephemera.pulumi("destroy", "--yes", "--stack", ephemera.stack(system), "--remove")
    assert ended.code == 0, ended.out + ended.err
    assert _containers(ephemera.stack(system)) == []
    assert ephemera("down", ephemera.stack(system), "--output", "json").json["leftovers"] == []
    assert ephemera.left() == []


def test_a_changed_setting_shows_in_a_preview(ephemera: Ephemera) -> None:
    assert ephemera("up", "web").code == 0
    assert ephemera.pulumi("config", "set", "ephemera:greeting", "salut", "--stack", ephemera.stack("web")).code == 0
    assert ephemera.pulumi(*_NO_CHANGE, "--stack", ephemera.stack("web")).code != 0
    assert ephemera("down", ephemera.stack("web")).code == 0
    assert ephemera.left() == []


def test_a_failed_service_by_hand_is_one_line_without_a_traceback(ephemera: Ephemera) -> None:
    assert ephemera.pulumi("stack", "init", ephemera.stack("web")).code == 0
    assert ephemera.pulumi("config", "set", "ephemera:behaviour", "exit", "--stack", ephemera.stack("web")).code == 0
    failed = ephemera.pulumi("up", "--yes", "--stack", ephemera.stack("web"), "--color", "never")
    assert failed.code != 0
    assert "service 'web' exited before it was ready (exit code 7)" in failed.out
    assert "cannot find the config" in failed.out
    assert "Traceback" not in failed.out
    assert ephemera("down", ephemera.stack("web")).code == 0
    assert ephemera.left() == []


def _containers(stack: str) -> list[str]:
    client = docker.from_env()
    found = sorted(item.id for item in client.containers.list(all=True, filters={"label": f"ephemera.stack={stack}"}))
    client.close()
    return found
