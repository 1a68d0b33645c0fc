"""What somebody has removed, stopped or moved by hand is brought back by the next `up`, with the data that is left."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from docker.errors import NotFound

from ephemera.docker.connection import connected
from ephemera.model import labels
from tests.driver_command import until

from .conftest import Ephemera

_PSQL = ("psql", "-U", "shop", "-d", "shop", "-tAc")


class Hand:
    """What Docker's own command does to the environment's objects."""

    def __init__(self, command: Ephemera, system: str) -> None:
        self.stack = command.stack(system)
        self._filters = {"label": f"{labels.STACK}={self.stack}"}

    def containers(self) -> dict[str, dict[str, Any]]:
        """By service."""
        with connected() as client:
            listed = client.api.containers(all=True, filters=self._filters)
            return {item["Labels"][labels.SERVICE]: client.api.inspect_container(item["Id"]) for item in listed}

    def remove(self, *services: str) -> None:
        with connected() as client:
            for name, found in self.containers().items():
                if not services or name in services:
                    client.api.remove_container(found["Id"], force=True)

    def is_waited_for(self, service: str) -> bool:
        """Whether the program waits at its gate: it has limited its processes, as it does when it has been made."""
        with connected() as client:
            try:
                return bool(client.api.inspect_container(f"{self.stack}-{service}")["HostConfig"]["PidsLimit"])
            except NotFound:
                return False

    def kill(self) -> None:
        """As a restart of the machine does."""
        with connected() as client:
            for found in self.containers().values():
                client.api.kill(found["Id"])
                client.api.wait(found["Id"])

    def disconnect(self, *services: str) -> None:
        with connected() as client:
            for name, found in self.containers().items():
                if not services or name in services:
                    client.api.disconnect_container_from_network(found["Id"], self.stack, force=True)

    def remove_network(self) -> None:
        with connected() as client:
            client.api.remove_network(self.stack)

    def remove_volumes(self) -> None:
        with connected() as client:
            for item in client.api.volumes(filters=self._filters)["Volumes"]:
                client.api.remove_volume(item["Name"])

    def rename(self, service: str, name: str) -> None:
        with connected() as client:
            client.api.rename(self.containers()[service]["Id"], name)

    def pause(self, service: str) -> None:
        with connected() as client:
            client.api.pause(self.containers()[service]["Id"])


@pytest.fixture
def store(ephemera: Ephemera) -> Iterator[tuple[Ephemera, Hand]]:
    """PostgreSQL with a row in it."""
    assert ephemera("up", "data").code == 0
    hand = Hand(ephemera, "data")
    _sql(ephemera, "CREATE TABLE kept AS SELECT 42 AS answer")
    yield ephemera, hand
    assert ephemera("down", hand.stack).code == 0
    assert ephemera.left() == []


def _sql(command: Ephemera, statement: str) -> str:
    done = command("exec", "--stack", command.stack("data"), "postgres", "--", *_PSQL, statement)
    return done.out.strip()


def _brought_back(command: Ephemera, system: str, *arguments: str) -> None:
    done = command("up", system, *arguments)
    assert done.code == 0, done.err
    assert "unchanged" not in done.err
    status = command("status", command.stack(system))
    assert status.code == 0, status.out
    again = command("up", system)
    assert "unchanged" in again.err, again.err


def test_data_in_a_volume_outlives_containers_and_network(store: tuple[Ephemera, Hand]) -> None:
    command, hand = store
    hand.remove()
    _brought_back(command, "data")
    assert _sql(command, "SELECT answer FROM kept") == "42"

    hand.remove()
    hand.remove_network()
    _brought_back(command, "data", "--force")
    assert _sql(command, "SELECT answer FROM kept") == "42"

    hand.kill()  # the machine is restarted, and pruned
    hand.remove_network()
    _brought_back(command, "data")
    assert _sql(command, "SELECT answer FROM kept") == "42"

    hand.remove()
    hand.remove_network()
    hand.remove_volumes()
    _brought_back(command, "data")
    assert _sql(command, "SELECT to_regclass('kept') IS NULL") == "t"
    _sql(command, "CREATE TABLE kept ()")


@pytest.fixture
def web(ephemera: Ephemera) -> Iterator[tuple[Ephemera, Hand]]:
    """A web server and its shadow, which publishes nothing."""
    done = ephemera("up", "web", "--profile", "extra")
    assert done.code == 0, done.err
    hand = Hand(ephemera, "web")
    yield ephemera, hand
    assert ephemera("down", hand.stack).code == 0
    assert ephemera.left() == []


def _states(command: Ephemera) -> dict[str, tuple[str, bool]]:
    done = command("status", command.stack("web"), "--output", "json")
    found = done.json["services"]
    assert done.code == (0 if all(each["up"] for each in found if each["required"]) else 3)
    return {each["service"]: (each["state"], each["up"]) for each in found}


def test_missing_containers_are_told_of_and_brought_back(web: tuple[Ephemera, Hand]) -> None:
    command, hand = web
    hand.remove("web")
    assert _states(command) == {"web": ("missing", False), "shadow": ("running", False)}
    assert [each["state"] for each in command("ls", "--output", "json").json] == ["stopped"]
    missing = f"service 'web' of {hand.stack} has no container: bring it back with `ephemera up`"
    for arguments in (("exec", "web", "--", "true"), ("restart", "web"), ("logs", "web")):
        done = command(*arguments, "--stack", hand.stack) if arguments[0] != "exec" else command(*arguments)
        assert done.code == 3
        assert missing in done.err
    tests = ("--ephemera-env", hand.stack, "tests/test_web.py::test_answers")
    tested = command.pytest(*tests)
    assert tested.code != 0
    assert missing in tested.out + tested.err

    hand.remove()
    assert _states(command) == {"web": ("missing", False), "shadow": ("missing", False)}
    assert [each["state"] for each in command("ls", "--output", "json").json] == ["empty"]
    _brought_back(command, "web")
    assert command.pytest(*tests).code == 0


def test_containers_that_cannot_go_on_where_they_are_are_made_again(web: tuple[Ephemera, Hand]) -> None:
    command, hand = web
    hand.disconnect("shadow")
    _brought_back(command, "web")
    hand.disconnect()
    hand.remove_network()
    _brought_back(command, "web", "--force")
    before = {name: found["Id"] for name, found in hand.containers().items()}
    hand.kill()
    _brought_back(command, "web")
    hand.pause("shadow")
    hand.rename("web", f"{hand.stack}-mine")
    _brought_back(command, "web")
    after = hand.containers()
    assert {name: found["Id"] for name, found in after.items()} == before, "these could go on"
    assert after["web"]["Name"] == f"/{hand.stack}-web"


def test_plain_pulumi_names_the_way_back(web: tuple[Ephemera, Hand]) -> None:
    command, hand = web
    hand.remove("web")
    done = command.pulumi("up", "--yes", "--skip-preview", "--stack", hand.stack)
    assert done.code != 0
    told = "service 'web' is gone: its container was removed: bring back what is missing with `ephemera up`"
    assert told in done.out + done.err
    done = command.pulumi("up", "--refresh", "--yes", "--skip-preview", "--stack", hand.stack)
    assert done.code == 0, done.out + done.err
    assert set(_states(command).values()) == {("running", True)}


def test_container_that_is_removed_while_it_comes_up_is_told_of(ephemera: Ephemera) -> None:
    hand = Hand(ephemera, "web")
    process = ephemera.start("up", "web", "-c", "behaviour=deaf")
    until(lambda: hand.is_waited_for("web"), 60)
    hand.remove()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 3
    assert "service 'web' is gone: its container was removed" in output or "exit code 137" in output
    assert "no Docker engine answers" not in output
    assert ephemera.left() == []
