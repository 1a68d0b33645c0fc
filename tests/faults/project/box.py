"""One system with everything that can be killed on its way: a build, a network, a volume, two containers, gates."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ephemera.contract.catalog import Service, System
from ephemera.contract.images import EngineImage, ServiceImage

if TYPE_CHECKING:
    from ephemera.resources import Environment

PYTHON = EngineImage(name="python")
SERVER = ServiceImage(
    name=os.environ.get("BOX_IMAGE", "box"),
    context=Path(__file__).parent / "service",
    bases={"BASE": PYTHON},
    arguments={"BUILD_SECONDS": os.environ.get("BOX_BUILD_SECONDS", "0.5")},
)

SYSTEMS = {
    "box": System(
        program="box:program",
        suite="tests",
        services={"store": Service(), "front": Service(requires=("store",))},
        images=(SERVER,),
    )
}


def program(environment: Environment) -> None:
    """A server with a volume, and one in front of it that is ready a moment later."""
    if engine := os.environ.get("BOX_ENGINE"):
        from pulumi_docker import Provider

        Provider("named", host=engine)  # whatever it is used for: such a stack is destroyed by Pulumi's engine
    from ephemera.resources import Container, Http, Port, Volume

    store = Container(
        "store",
        image=SERVER,
        ready=Http("/"),
        ports={"http": Port(8000)},
        volumes={"/var/lib/store": Volume("store")},
        memory_mb=64,
    )
    Container(
        "front",
        image=SERVER,
        ready=Http("/"),
        ports={"http": Port(8001)},
        command=["python3", "/srv/serve.py", "8001", os.environ.get("BOX_DELAY_SECONDS", "0.5")],
        memory_mb=64,
        needs=(store,),
    )
