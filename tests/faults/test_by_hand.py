"""What people do on the Docker engine by hand: objects of an environment's names that are theirs, its own removed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from docker import DockerClient
from docker.errors import NotFound

from ephemera.docker.connection import connected
from ephemera.model import labels
from tests.faults.box import Box, killed

_SUFFIXES = {"volume": "-store", "network": "", "container": "-front"}
_ENDS_SECONDS = 90


@pytest.fixture
def docker() -> Iterator[DockerClient]:
    """The engine, as a person has it beside the command."""
    with connected() as client:
        yield client


@pytest.fixture
def foreign(docker: DockerClient) -> Iterator[Callable[[str, str], Callable[[], bool]]]:
    """Makes an object that is no environment's, and gives what tells whether it is there with all that was in it."""
    made: list[tuple[str, str]] = []

    def make(kind: str, name: str) -> Callable[[], bool]:
        if kind == "volume":
            identifier = name
            volume = docker.api.create_volume(name, labels={"mine": "yes"})
            data = Path(volume["Mountpoint"]) / "data"
            data.write_text("years of it")
        elif kind == "network":
            identifier = docker.api.create_network(name, labels={"mine": "yes"})["Id"]
        else:
            image = docker.api.images(filters={"label": f"{labels.IMAGE}=python"})[0]["Id"]
            identifier = docker.api.create_container(image, command=["true"], name=name, labels={"mine": "yes"})["Id"]
        made.append((kind, identifier))

        def there() -> bool:
            with suppress(NotFound):
                found: Any = getattr(docker.api, f"inspect_{kind}")(identifier)
                return bool(found) and (kind != "volume" or data.read_text() == "years of it")
            return False

        return there

    yield make
    for kind, identifier in made:
        with suppress(NotFound):
            getattr(docker.api, f"remove_{kind}")(identifier)


@pytest.mark.parametrize("kind", _SUFFIXES)
def test_foreign_object_before_the_first_up(
    box: Box, foreign: Callable[[str, str], Callable[[], bool]], kind: str
) -> None:
    there = foreign(kind, f"{box.command.stack('box')}{_SUFFIXES[kind]}")
    _refused(box, kind)
    assert there()
    box.is_clean(f"name of a {kind}", "before up")


@pytest.mark.parametrize("kind", _SUFFIXES)
def test_foreign_object_between_two_ups(
    box: Box, docker: DockerClient, foreign: Callable[[str, str], Callable[[], bool]], kind: str
) -> None:
    assert box.command("up", "box").code == 0
    name = f"{box.command.stack('box')}{_SUFFIXES[kind]}"
    _remove(docker, box, kind)
    there = foreign(kind, name)
    _refused(box, kind)
    assert there()
    done = box.command("down")
    assert done.code == 0, done.err
    assert there()
    box.is_clean(f"name of a {kind}", "between two ups")


def test_foreign_network_beside_the_environments_own(
    box: Box, foreign: Callable[[str, str], Callable[[], bool]]
) -> None:
    """Docker lets networks share a name: which one is meant, only ids tell."""
    assert box.command("up", "box").code == 0
    there = foreign("network", box.command.stack("box"))
    _refused(box, "network", "--force")
    assert there()
    done = box.command("down")
    assert done.code == 0, done.err
    assert there()
    box.is_clean("name of a network", "beside its own")


@pytest.mark.parametrize("kind", _SUFFIXES)
def test_removed_by_hand_comes_back(box: Box, docker: DockerClient, kind: str) -> None:
    assert box.command("up", "box").code == 0
    _remove(docker, box, kind)
    _comes_back(box)
    assert box.command("down").code == 0
    box.is_clean(f"docker {kind} rm", "up again")


def test_everything_stopped_and_pruned_comes_back(box: Box, docker: DockerClient) -> None:
    """What ``docker stop`` of all and ``docker system prune --volumes`` leave of it: nothing."""
    assert box.command("up", "box").code == 0
    stack = box.command.stack("box")
    _remove(docker, box, "volume")
    docker.api.remove_network(stack)
    _comes_back(box)
    assert box.command("down").code == 0
    box.is_clean("docker system prune", "up again")


def test_owner_while_it_brings_back_what_was_removed(box: Box, docker: DockerClient) -> None:
    assert box.command("up", "box").code == 0
    _remove(docker, box, "container")
    with box.at("container") as wait:
        process = box.command.start("up", "box")
        wait()
    killed(process)
    _comes_back(box)
    assert box.command("down").code == 0
    box.is_clean("owner", "what was removed comes back")


def test_engine_between_the_removal_of_a_container_and_its_replacement(box: Box) -> None:
    assert box.command("up", "box").code == 0
    with box.at("replacement") as wait:
        process = box.command.start("up", "box", BOX_DELAY_SECONDS="0.6")
        wait()
    assert box.kill("engine", process)
    output, _ = process.communicate(timeout=_ENDS_SECONDS)
    assert process.returncode == 3, output
    assert "Traceback" not in output
    lease = box.lease()
    assert lease is not None, "what was there before stays"
    assert (lease.phase, lease.holder) == ("kept", None)
    _comes_back(box, BOX_DELAY_SECONDS="0.6")
    assert box.command("down").code == 0
    box.is_clean("engine", "a replacement")


def _refused(box: Box, kind: str, *options: str) -> None:
    done = box.command("up", "box", *options)
    assert done.code == 2, done.err
    (error,) = [line for line in done.err.splitlines() if line.startswith("ephemera: ")]
    assert f"{kind} '{box.command.stack('box')}{_SUFFIXES[kind]}' exists already" in error


def _comes_back(box: Box, **variables: str) -> None:
    done = box.command.elsewhere(variables, "up", "box")
    assert done.code == 0, done.err
    status = box.command("status", "--output", "json")
    assert (status.code, [service["up"] for service in status.json["services"]]) == (0, [True, True])


def _remove(docker: DockerClient, box: Box, kind: str) -> None:
    """Remove objects of the environment as people do: a container alone; what containers hold, with those."""
    stack = box.command.stack("box")
    names = [f"{stack}-front"] if kind == "container" else [f"{stack}-front", f"{stack}-store"]
    for name in names:
        docker.api.remove_container(name, force=True)
    if kind == "volume":
        docker.api.remove_volume(f"{stack}-store")
    elif kind == "network":
        docker.api.remove_network(stack)
