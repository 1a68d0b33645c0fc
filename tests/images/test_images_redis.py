"""The local Redis image: the official one's interface, hardened."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any

import docker
import pytest
import redis

from ephemera.images import ensure
from ephemera.model.images import EngineImage

_ADDRESS = "127.83.254.2"
_DEADLINE_SECONDS = 30.0
_HARDENED = {
    "cap_drop": ["ALL"],
    "read_only": True,
    "init": True,
    "security_opt": ["no-new-privileges"],
    "mem_limit": "64m",
}
Start = Callable[..., Any]


@pytest.fixture(scope="module")
def image() -> str:
    wanted = EngineImage(name="redis")
    return ensure([wanted], "local")[wanted]


@pytest.fixture
def start(client: docker.DockerClient, image: str) -> Iterator[Start]:
    """Starts containers of the image, hardened; a client of one that answers."""
    name = f"test-redis-{secrets.token_hex(4)}"
    volume = client.volumes.create(name)
    started = []

    def starting(command: list[str] | None = None, password: str | None = None) -> tuple[Any, redis.Redis]:
        container = client.containers.run(
            image,
            command,
            detach=True,
            ports={"6379/tcp": (_ADDRESS, None)},
            volumes={name: {"bind": "/data"}},
            **_HARDENED,
        )
        started.append(container)
        container.reload()
        connection = redis.Redis(_ADDRESS, int(container.ports["6379/tcp"][0]["HostPort"]), password=password)
        connections.append(connection)
        deadline = time.monotonic() + _DEADLINE_SECONDS
        while True:
            try:
                connection.ping()
                return container, connection
            except redis.ConnectionError:
                container.reload()
                assert container.status == "running", container.logs().decode()
                assert time.monotonic() < deadline
                time.sleep(0.05)

    connections: list[redis.Redis] = []
    yield starting
    for connection in connections:
        connection.close()
    for container in started:
        container.remove(force=True, v=True)
    volume.remove(force=True)


def test_it_answers_from_outside_as_nobody_special(start: Start) -> None:
    container, connection = start()
    connection.set("key", "value")
    assert connection.get("key") == b"value"
    owners = {row[0] for row in container.top(ps_args="-eo uid,pid")["Processes"]}
    assert owners == {"999"}


@pytest.mark.parametrize("command", [["--requirepass", "secret"], ["redis-server", "--requirepass", "secret"]])
def test_options_are_the_servers(start: Start, command: list[str]) -> None:
    _, connection = start(command, "secret")
    assert connection.config_get("requirepass") == {"requirepass": "secret"}


def test_data_is_kept_in_its_volume(start: Start) -> None:
    first, connection = start(["--appendonly", "yes"])
    connection.set("key", "value")
    first.stop(timeout=10)
    assert first.wait()["StatusCode"] == 0
    _, connection = start(["--appendonly", "yes"])
    assert connection.get("key") == b"value"
