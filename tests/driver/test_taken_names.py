"""Names that an environment needs and that objects have which are not its own: refused before anything is created."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from docker.errors import NotFound

from ephemera.docker.connection import connected

from .conftest import Ephemera


@pytest.fixture
def foreign() -> Iterator[Callable[[str, str, dict[str, str]], None]]:
    """Makes an object that is no environment's; it is gone afterwards."""
    made: list[tuple[str, str]] = []
    with connected() as client:

        def make(kind: str, name: str, marks: dict[str, str]) -> None:
            made.append((kind, name))
            if kind == "volume":
                client.api.create_volume(name, labels=marks)
            elif kind == "network":
                client.api.create_network(name, labels=marks)
            else:
                image = client.api.images(filters={"label": "ephemera.image=python"})[0]["Id"]
                client.api.create_container(image, command=["true"], name=name, labels=marks)

        yield make
        for kind, name in made:
            with suppress(NotFound):
                getattr(client.api, f"remove_{kind}")(name)


def _there(kind: str, name: str) -> bool:
    with connected() as client, suppress(NotFound):
        inspected: Any = getattr(client.api, f"inspect_{kind}")(name)
        return bool(inspected)
    return False


@pytest.mark.parametrize(
    ("kind", "suffix"), [("volume", "-data"), ("network", ""), ("container", "-postgres")], ids=lambda value: value
)
def test_foreign_object_is_refused_in_one_line_and_left(
    ephemera: Ephemera, foreign: Callable[[str, str, dict[str, str]], None], kind: str, suffix: str
) -> None:
    stack = ephemera.stack("data")
    name = f"{stack}{suffix}"
    foreign(kind, name, {"com.docker.compose.project": "till"})
    done = ephemera("up", "data")
    assert done.code == 2, done.err
    said = f"{kind} {name!r} exists already and belongs to Compose project 'till'"
    assert [line for line in done.err.splitlines() if "…" not in line] == [
        f"ephemera: {said}: rename it, or remove it (docker {kind} rm {name}), or choose another --branch"
    ]
    assert ephemera.left() == [], "nothing was created"
    assert _there(kind, name)
    with connected() as client:
        getattr(client.api, f"remove_{kind}")(name)
    assert ephemera("up", "data").code == 0
    assert ephemera("down", stack).code == 0


def test_foreign_volume_keeps_its_data_through_plain_pulumi(
    ephemera: Ephemera, foreign: Callable[[str, str, dict[str, str]], None]
) -> None:
    stack = ephemera.stack("data")
    foreign("volume", f"{stack}-data", {})
    assert ephemera.pulumi("stack", "init", stack).code == 0
    done = ephemera.pulumi("up", "--yes", "--skip-preview", "--stack", stack)
    assert done.code != 0
    assert f"volume '{stack}-data' exists already and has no label of ephemera" in done.out
    assert not _there("network", stack), "nothing was created"
    ephemera("down", stack)
    assert _there("volume", f"{stack}-data")


def test_object_of_another_environment_of_ours_is_named(
    ephemera: Ephemera, foreign: Callable[[str, str, dict[str, str]], None]
) -> None:
    """Stack ``a`` with service ``b-c`` and stack ``a-b`` with service ``c`` would both have a container ``a-b-c``."""
    stack = ephemera.stack("web")
    marks = {"ephemera.stack": "web-other", "ephemera.owner": "me@here", "ephemera.backend": ephemera.backend}
    foreign("container", f"{stack}-web", marks)
    done = ephemera("up", "web")
    assert done.code == 2
    assert "belongs to environment 'web-other' of me@here" in done.err


def test_bad_input_after_the_first_resource_creates_nothing(ephemera: Ephemera) -> None:
    """The program declares its network first; what is wrong with a later service is found before that is created."""
    program = ephemera.project / "shop.py"
    program.write_text(program.read_text().replace('run_as="postgres",', 'run_as="postgres",\n        memory_mb=-1,'))
    stack = ephemera.stack("data")
    since = int(time.time())
    done = ephemera("up", "data")
    assert done.code == 2
    assert "memory_mb of service 'postgres' is -1" in done.err
    with connected() as client:
        filters = {"type": "network", "event": "create"}
        events = list(client.api.events(since=since, until=int(time.time()) + 1, filters=filters, decode=True))
    assert stack not in [event["Actor"]["Attributes"]["name"] for event in events]
