"""By hand and by driver are interchangeable: the same stack, in both directions, with no difference in a preview."""

from __future__ import annotations

import docker

from .conftest import Ephemera

_NO_CHANGE = ("preview", "--expect-no-changes", "--diff")


def test_made_by_hand_used_and_ended_by_the_driver(ephemera: Ephemera) -> None:
    assert ephemera.pulumi("stack", "init", "data-hand").code == 0
    made = ephemera.pulumi("up", "--yes", "--stack", "data-hand")
    assert made.code == 0, made.out + made.err
    before = _containers("data-hand")
    status = ephemera("status", "data-hand", "--output", "json")
    assert [service["up"] for service in status.json["services"]] == [True]
    (listed,) = ephemera("ls", "--output", "json").json
    assert (listed["system"], listed["branch"], listed["state"]) == ("data", "hand", "running")
    updated = ephemera("up", "data", "--branch", "hand")
    assert updated.code == 0, updated.err
    assert _containers("data-hand") == before
    down = ephemera("down", "data-hand", "--output", "json")
    assert down.json["leftovers"] == []
    assert ephemera.left() == []


def test_made_by_the_driver_previewed_updated_and_ended_by_hand(ephemera: Ephemera) -> None:
    assert ephemera("up", "data", "--branch", "drive").code == 0
    before = _containers("data-drive")
    preview = ephemera.pulumi(*_NO_CHANGE, "--stack", "data-drive")
    assert preview.code == 0, preview.out + preview.err
    updated = ephemera.pulumi("up", "--yes", "--stack", "data-drive", "--expect-no-changes")
    assert updated.code == 0, updated.out + updated.err
    assert _containers("data-drive") == before
    ended = ephemera.pulumi("destroy", "--yes", "--stack", "data-drive", "--remove")
    assert ended.code == 0, ended.out + ended.err
    assert _containers("data-drive") == []
    assert ephemera("down", "data-drive", "--output", "json").json["leftovers"] == []
    assert ephemera.left() == []


def test_a_changed_setting_shows_in_a_preview(ephemera: Ephemera) -> None:
    assert ephemera("up", "web", "--branch", "drive").code == 0
    assert ephemera.pulumi("config", "set", "ephemera:greeting", "salut", "--stack", "web-drive").code == 0
    assert ephemera.pulumi(*_NO_CHANGE, "--stack", "web-drive").code != 0
    assert ephemera("down", "web-drive").code == 0
    assert ephemera.left() == []


def test_a_failed_service_by_hand_is_one_line_without_a_traceback(ephemera: Ephemera) -> None:
    assert ephemera.pulumi("stack", "init", "web-hand").code == 0
    assert ephemera.pulumi("config", "set", "ephemera:behaviour", "exit", "--stack", "web-hand").code == 0
    failed = ephemera.pulumi("up", "--yes", "--stack", "web-hand", "--color", "never")
    assert failed.code != 0
    assert "service 'web' exited before it was ready (exit code 7)" in failed.out
    assert "cannot find the config" in failed.out
    assert "Traceback" not in failed.out
    assert ephemera("down", "web-hand").code == 0
    assert ephemera.left() == []


def _containers(stack: str) -> list[str]:
    client = docker.from_env()
    found = sorted(item.id for item in client.containers.list(all=True, filters={"label": f"ephemera.stack={stack}"}))
    client.close()
    return found
