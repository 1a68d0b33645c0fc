"""A system in which services need each other: a store with data, a one-shot that prepares it, an API, a worker."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ephemera.contract.catalog import Option, Service, Source, System
from ephemera.contract.images import EngineImage, ServiceImage

if TYPE_CHECKING:
    from ephemera.resources import Environment

_SOURCES = Path(__file__).parent / "services"
_NAME = os.environ.get("CHAIN_IMAGE", "chain")
_POSTGRES = EngineImage(name="postgres")
_PYTHON = EngineImage(name="python")
_API = ServiceImage(name=f"{_NAME}-api", context=_SOURCES / "api", bases={"BASE": _PYTHON})
_WORKER = ServiceImage(name=f"{_NAME}-worker", context=_SOURCES / "worker", bases={"BASE": _PYTHON})
# A server that sees to its own reload: the process that serves is another one after each save.
_RELOADING = """import os, subprocess, time
written = lambda: os.stat('/srv/serve.py').st_mtime_ns
while True:
    before = written()
    serving = subprocess.Popen(['python3', '/srv/serve.py'])
    while written() == before:
        time.sleep(0.05)
    serving.kill()
    serving.wait()
"""

SYSTEM = System(
    program="chain:program",
    suite="tests",
    services={
        "store": Service(),
        "setup": Service(requires=("store",)),
        "api": Service(requires=("store", "setup"), source=Source(folder=_SOURCES / "api", target="/srv")),
        "worker": Service(
            requires=("api",),
            source=Source(
                folder=_SOURCES / "worker", target="/srv", reload="command", command=("python3", "-c", _RELOADING)
            ),
        ),
    },
    images=(_POSTGRES, _API, _WORKER),
    options={
        "connections": Option(type="integer", default=20, help="that the store accepts"),
        "greeting": Option(type="string", default="hello", help="in the environment of the API"),
    },
)


def program(environment: Environment) -> None:
    """The store's URL reaches the others as tasker's does: through its gate."""
    import pulumi

    from ephemera.resources import Container, ExitZero, Http, Port, PostgresProbe, Volume

    password = environment.credential("store", "password")
    store = Container(
        "store",
        image=_POSTGRES,
        ready=PostgresProbe(user="shop", database="shop"),
        ports={"postgres": Port(5432, scheme="postgresql", path="/shop")},
        variables={"POSTGRES_USER": "shop", "POSTGRES_PASSWORD": password, "POSTGRES_DB": "shop"},
        command=["postgres", "-c", f"max_connections={environment.option('connections')}"],
        volumes={"/var/lib/postgresql/data": Volume("data")},
        tmpfs={"/tmp": "size=16m", "/var/run/postgresql": "size=1m,mode=1777"},  # noqa: S108 - inside
        run_as="postgres",
    )
    url = pulumi.Output.all(password, store.started).apply(lambda known: f"postgresql://shop:{known[0]}@store/shop")
    setup = Container(
        "setup",
        image=_POSTGRES,
        ready=ExitZero(),
        command=["psql", "-h", "store", "-U", "shop", "-d", "shop", "-c", "CREATE TABLE made_once ()"],
        variables={"PGPASSWORD": password},
        run_as="postgres",
        needs=(store,),
    )
    api = Container(
        "api",
        image=_API,
        ready=Http("/"),
        ports={"http": Port(8000)},
        variables={"STORE_URL": url, "GREETING": str(environment.option("greeting"))},
        memory_mb=64,
        needs=(store, setup),
    )
    if "worker" in environment.selected:
        Container(
            "worker",
            image=_WORKER,
            ready=Http("/"),
            ports={"http": Port(8001)},
            variables={"API_URL": "http://api:8000"},
            memory_mb=64,
            needs=(api,),
        )
