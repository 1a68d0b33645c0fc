"""Taking down: at once and in the background, with the time that a service is given to end, and after plain Pulumi."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import docker

from tests.driver_command import until

from .conftest import Ephemera

_GONE_SECONDS = 30
_POLITE = ("-c", "behaviour=polite", "-c", "stop_seconds=10")


def test_without_waiting_it_goes_in_the_background_and_is_given_its_time(ephemera: Ephemera) -> None:
    assert ephemera("up", "web", "--profile", "extra", *_POLITE).code == 0
    with _followed(f"{ephemera.stack('web')}-web") as lines:
        down = ephemera("down", "--no-wait", "--output", "json")
        assert down.code == 0, down.err
        assert ephemera.running(), "nobody waited"
        assert down.json == {"stack": ephemera.stack("web"), "seconds": None, "leftovers": None}
        until(lambda: ephemera.left() == [], _GONE_SECONDS)
    assert lines[-1] == "ended politely"


def test_it_is_shown_until_it_is_gone_and_a_second_down_waits_for_it(ephemera: Ephemera) -> None:
    assert ephemera("up", "web", *_POLITE).code == 0
    handed_over = ephemera("down", "--no-wait")
    assert handed_over.code == 0
    assert "is taken down in the background" in handed_over.err
    (listed,) = ephemera("ls", "--output", "json").json
    assert listed["stack"] == ephemera.stack("web")
    second = ephemera("down", ephemera.stack("web"))
    assert second.code in (0, 2), second.err  # whichever of the two was first to it; the other found nothing
    assert ephemera.left() == []
    assert ephemera("down", ephemera.stack("web"), "--no-wait").code == 2, "nothing to hand over"


def test_without_waiting_and_without_a_warm_process(ephemera: Ephemera) -> None:
    assert ephemera("up", "web", EPHEMERA_WARM="off").code == 0
    assert ephemera("down", "--no-wait", EPHEMERA_WARM="off").code == 0
    until(lambda: ephemera.left() == [], _GONE_SECONDS)


def test_service_is_given_its_time_to_end(ephemera: Ephemera) -> None:
    assert ephemera("up", "web", *_POLITE).code == 0
    with _followed(f"{ephemera.stack('web')}-web") as lines:
        started = time.monotonic()
        down = ephemera("down", "--output", "json")
        assert (down.code, down.json["leftovers"]) == (0, []), down.err
        assert 2 <= time.monotonic() - started < 10, "it takes two, and could take ten"
        assert ephemera.left() == []
    assert lines == ["serving", "ended politely"]


def test_service_that_is_given_none_is_not_waited_for(ephemera: Ephemera) -> None:
    assert ephemera("up", "web", "-c", "behaviour=polite").code == 0
    with _followed(f"{ephemera.stack('web')}-web") as lines:
        assert ephemera("down").code == 0
    assert lines == ["serving"]
    assert ephemera.left() == []


def test_plain_up_and_down_with_the_driver(ephemera: Ephemera) -> None:
    stack = ephemera.stack("web")
    assert ephemera.pulumi("stack", "init", stack).code == 0
    for key, value in (("behaviour", "polite"), ("stop_seconds", "10")):
        assert ephemera.pulumi("config", "set", f"ephemera:{key}", value, "--stack", stack).code == 0
    made = ephemera.pulumi("up", "--yes", "--skip-preview", "--stack", stack)
    assert made.code == 0, made.out + made.err
    with _followed(f"{stack}-web") as lines:
        down = ephemera("down", stack, "--output", "json")
        assert (down.code, down.json["leftovers"]) == (0, []), down.err
    assert lines == ["serving", "ended politely"]
    assert ephemera.left() == []
    assert ephemera.pulumi("stack", "ls", "--json").out.strip() == "[]"


def test_what_somebody_added_is_removed_and_told(ephemera: Ephemera) -> None:
    assert ephemera("up", "web").code == 0
    client = docker.from_env()
    try:
        network = client.networks.list(names=[ephemera.stack("web")])[0]
        client.volumes.create(f"{ephemera.stack('web')}-stray", labels=network.attrs["Labels"])
    finally:
        client.close()
    down = ephemera("down", "--output", "json")
    assert (down.code, down.json["leftovers"]) == (4, [f"volume {ephemera.stack('web')}-stray"])
    assert ephemera.left() == []


@contextmanager
def _followed(container: str) -> Iterator[list[str]]:
    """What the container prints until it has ended, complete on the way out."""
    lines: list[str] = []
    client = docker.from_env()
    stream = client.api.logs(container, stderr=False, follow=True, stream=True)

    def follow() -> None:
        for chunk in stream:
            lines.extend(chunk.decode().splitlines())

    following = threading.Thread(target=follow, daemon=True)
    following.start()
    try:
        yield lines
        following.join(_GONE_SECONDS)
        assert not following.is_alive()
    finally:
        client.close()
