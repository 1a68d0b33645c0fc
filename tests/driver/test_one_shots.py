"""One-shots: what they gate, what is told when they fail, and that they are not run again without a reason."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import docker
import pytest

from tests.driver_command import PROJECT, Ephemera, command_in


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ephemera]:
    """A living environment of the system whose server needs a one-shot."""
    with command_in(PROJECT, tmp_path_factory.mktemp("one-shots")) as ephemera:
        done = ephemera("up", "once", "--output", "json")
        assert done.code == 0, done.err
        yield ephemera
        ephemera("down", "once")
        assert ephemera.left() == []


def _state(ephemera: Ephemera, service: str) -> tuple[str, dict[str, Any]]:
    """Id and state of the service's container."""
    client = docker.from_env()
    found = client.api.inspect_container(f"{ephemera.stack('once')}-{service}")
    client.close()
    return found["Id"], found["State"]


def test_what_needs_it_starts_after_it_has_ended(shop: Ephemera) -> None:
    (_, setup), (_, web) = _state(shop, "setup"), _state(shop, "web")
    assert (setup["Status"], setup["ExitCode"]) == ("exited", 0)
    assert setup["FinishedAt"] < web["StartedAt"]


def test_it_does_not_count_as_down(shop: Ephemera) -> None:
    done = shop("status", "once", "--output", "json")
    assert done.code == 0, done.out
    found = {each["service"]: (each["up"], each["done"], each["health"]) for each in done.json["services"]}
    assert found == {"setup": (True, True, ""), "web": (True, False, "")}
    assert "done" in shop("status", "once").out
    [listed] = shop("ls", "--output", "json").json
    assert listed["state"] == "running"


@pytest.mark.parametrize("arguments", [[], ["--force"]])
def test_unchanged_it_is_not_run_again(shop: Ephemera, arguments: list[str]) -> None:
    before = _state(shop, "setup")
    assert shop("up", "once", *arguments).code == 0
    assert _state(shop, "setup") == before


def test_server_that_has_stopped_is_started_again_without_it(shop: Ephemera) -> None:
    before = _state(shop, "setup")
    client = docker.from_env()
    client.api.kill(f"{shop.stack('once')}-web")
    client.close()
    assert shop("up", "once").code == 0
    assert _state(shop, "web")[1]["Running"]
    assert _state(shop, "setup") == before


def test_asked_for_it_runs_again(shop: Ephemera) -> None:
    before, state = _state(shop, "setup")
    done = shop("restart", "setup", "--stack", shop.stack("once"))
    assert done.code == 0, done.err
    again, restarted = _state(shop, "setup")
    assert again == before
    assert restarted["StartedAt"] > state["StartedAt"]
    assert (restarted["Status"], restarted["ExitCode"]) == ("exited", 0)


def test_changed_it_runs_again(shop: Ephemera) -> None:
    before, _ = _state(shop, "setup")
    assert shop("up", "once", "-c", "rows=9").code == 0
    again, state = _state(shop, "setup")
    assert again != before
    assert state["ExitCode"] == 0
    assert "made 9 rows" in shop("logs", "setup", "--stack", shop.stack("once")).out


def test_one_that_fails_is_told_with_its_last_lines_and_nothing_is_left(ephemera: Ephemera) -> None:
    done = ephemera("up", "once", "-c", "rows=-1", "--output", "json")
    assert done.code == 3
    error = json.loads(done.out)["error"]
    assert error["message"] == "service 'setup' did not end well (exit code 4)"
    assert error["container_exit_code"] == 4
    assert error["log_tail"][-1] == "cannot make -1 rows"
    assert ephemera.left() == []
