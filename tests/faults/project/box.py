"""One system with everything that can be killed on its way: a build, a network, a volume, two containers, gates."""

from __future__ import annotations

import os
from pathlib import Path

from ephemera import Build, Container, EngineImage, Environment, Http, System

PYTHON = EngineImage(name="python")
SERVER = Build(
    Path(__file__).parent / "service",
    name=os.environ.get("BOX_IMAGE", "box"),
    bases={"BASE": PYTHON},
    arguments={"BUILD_SECONDS": os.environ.get("BOX_BUILD_SECONDS", "0.5")},
)

box = System("box")


@box.program
def program(_environment: Environment) -> None:
    """A server with a volume, and one in front of it that is ready a moment later."""
    if engine := os.environ.get("BOX_ENGINE"):
        from pulumi_docker import Provider

        Provider("named", host=engine)  # whatever it is used for: such a stack is destroyed by Pulumi's engine
    store = Container(
        "store",
        image=SERVER,
        ready=Http("/"),
        ports={"http": 8000},
        volumes={"/var/lib/store": "store"},
        memory_mb=64,
    )
    Container(
        "front",
        image=SERVER,
        ready=Http("/"),
        ports={"http": 8001},
        command=["python3", "/srv/serve.py", "8001", os.environ.get("BOX_DELAY_SECONDS", "0.5")],
        memory_mb=64,
        needs=[store],
    )
