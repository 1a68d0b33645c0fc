"""Docker's own address pools used up, which ends most tools at about 31 networks; and ours."""

from __future__ import annotations

import pytest
from docker import DockerClient
from docker.errors import APIError
from docker.types import IPAMConfig, IPAMPool

from ephemera.lifecycle import removal
from tests.engine_daemon import private_engine

from .conftest import Ephemera

# Docker's defaults, 31 networks, cut down: /26 into /28 are four.
_FEW = ("--default-address-pool", "base=10.211.7.0/26,size=28")


def test_environment_needs_none_of_dockers_pools(ephemera: Ephemera, python_image: str) -> None:
    with private_engine(python_image, options=_FEW) as engine:
        ephemera.variables.update(engine.variables)
        with engine.client() as client:
            with pytest.raises(APIError, match="could not find an available, non-overlapping IPv4 address pool"):
                _use_up(client)
            done = ephemera("up", "web")
            assert done.code == 0, done.err
            assert ephemera("down", "web").code == 0

            # Ours, in turn: somebody's network covers the whole of it.
            first = engine.pool.partition("/")[0]
            taken = IPAMConfig(pool_configs=[IPAMPool(subnet=f"{first}/24")])
            client.networks.create("big", ipam=taken)
            done = ephemera("up", "web", EPHEMERA_SUBNET_POOL=f"{first}/24")
            assert done.code == 5, done.err
            assert f"all 16 subnets of {first}/24 are in use: end environments (`ephemera ls`)" in done.err
            assert "ephemera:subnet_pool" in done.err
            assert removal.find(client, backend=ephemera.backend) == []


def _use_up(client: DockerClient) -> None:
    """Make networks until Docker refuses another."""
    for number in range(5):
        client.networks.create(f"other-{number}")
