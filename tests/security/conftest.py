"""One world for all tests of this folder: it takes a minute to make."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ephemera.docker.connection import connected
from tests.driver_command import PROJECT, command_in
from tests.security.world import World, bring_up

collect_ignore = ["vault.py"]


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Environments of one user beside each other: ``tasker`` with all services, ``olav``, ``data``, ``vault``."""
    folder = tmp_path_factory.mktemp("security")
    with command_in(PROJECT, folder) as ephemera, connected() as client:
        world = bring_up(folder, ephemera, client)
        yield world
        down = [command("down", command.stack(system)) for command, system in world.environments]
        assert [done.err for done in down if done.code != 0] == []
        assert world.shop.left() == []
