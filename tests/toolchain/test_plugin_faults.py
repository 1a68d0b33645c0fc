"""What goes wrong on the engine comes out as one error that says what to do, and nothing is forgotten."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import docker
import pytest
from docker import DockerClient
from docker.models.containers import Container

from ephemera.model import labels
from tests.toolchain.plugin_stack import PluginStack

pytestmark = pytest.mark.timeout(20 * 60)  # the first build of the plugins compiles for minutes


@pytest.fixture
def stack(new_stack: Callable[[str], PluginStack]) -> PluginStack:
    """A stack of one container with a network and a volume."""
    return new_stack("one_of_each")


@pytest.fixture
def engine() -> Iterator[DockerClient]:
    """The engine."""
    client = docker.from_env()
    yield client
    client.close()


def _foreign(engine: DockerClient, stack: PluginStack, name: str, **options: object) -> Container:
    """A container that the stack knows nothing of."""
    container: Container = engine.containers.create(
        stack.image,
        ["sleep", "1000"],
        entrypoint=[],
        name=f"{stack.prefix}-{name}",
        # Not the image's own label, by which what killed builds left is found and removed.
        labels={"plugin.test": stack.prefix, labels.IMAGE: "none"},
        **options,
    )
    return container


def test_name_that_is_taken(stack: PluginStack, engine: DockerClient) -> None:
    taken = _foreign(engine, stack, "container")
    stack.fails("up", "Conflict", f"{stack.prefix}-container", "is already in use")
    assert "container" not in stack.state()
    taken.remove()
    stack.up("ours")
    stack.destroy("ours")
    assert stack.on_the_engine() == []


@pytest.mark.parametrize("kind", ["network", "volume"])
def test_object_that_is_still_in_use(stack: PluginStack, engine: DockerClient, kind: str) -> None:
    stack.up("ours")
    name = f"{stack.prefix}-{kind}"
    options = {"network": name} if kind == "network" else {"volumes": {name: {"bind": "/data", "mode": "rw"}}}
    holder = _foreign(engine, stack, "holder", **options)
    holder.start()

    stack.fails("destroy", f'{kind} "{name}" was not removed within', "remove")

    assert kind in stack.state()
    holder.remove(force=True)
    stack.destroy("ours")
    assert stack.on_the_engine() == []


def test_objects_that_are_gone(stack: PluginStack, engine: DockerClient) -> None:
    stack.up("ours")
    engine.containers.get(f"{stack.prefix}-container").remove(force=True)
    engine.networks.get(f"{stack.prefix}-network").remove()
    engine.volumes.get(f"{stack.prefix}-volume").remove()

    assert not {"container", "network", "volume"} & stack.refresh("ours").keys()

    assert {"container", "network", "volume"} <= stack.up("ours").keys()
    stack.remove_leftovers()
    stack.destroy("ours")
    assert stack.on_the_engine() == []


def test_engine_that_goes_away_in_the_middle(stack: PluginStack, tmp_path: Path) -> None:
    path = tmp_path / "docker.sock"
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen()
    serving = threading.Thread(target=_serve_until, args=(listening, b"/containers/create"), daemon=True)
    serving.start()
    stack.host = f"unix://{path}"

    stack.fails("up", "Unable to create container", "error during connect")

    serving.join(10)
    assert {"network", "volume", "image"} <= stack.state().keys()
    assert "container" not in stack.state()
    stack.fails("destroy", "Cannot connect to the Docker daemon")
    stack.host = None
    assert "container" in stack.up("ours")
    stack.destroy("ours")
    assert stack.on_the_engine() == []


def _serve_until(listening: socket.socket, last: bytes) -> None:
    """Hand everything to the engine and back, until a client says ``last``: then this engine is gone."""
    peers: dict[socket.socket, socket.socket] = {}
    with ExitStack() as open_sockets:
        open_sockets.enter_context(listening)
        while True:
            for each in select.select([listening, *peers], [], [])[0]:
                if each is listening:
                    client = open_sockets.enter_context(listening.accept()[0])
                    server = open_sockets.enter_context(socket.socket(socket.AF_UNIX))
                    server.connect("/var/run/docker.sock")
                    peers |= {client: server, server: client}
                elif each in peers:
                    data = each.recv(65536)
                    if last in data:
                        return
                    if data:
                        peers[each].sendall(data)
                    else:
                        del peers[peers.pop(each)]
