"""A system in which services need each other: a store with data, a one-shot that prepares it, an API, a worker."""

from __future__ import annotations

import os
from pathlib import Path

import pulumi

from ephemera import Build, Container, EngineImage, Environment, ExitZero, Http, Option, Port, Source, System
from ephemera.host.probes import PostgresProbe

_SOURCES = Path(__file__).parent / "services"
_NAME = os.environ.get("CHAIN_IMAGE", "chain")
_POSTGRES = EngineImage(name="postgres")
_PYTHON = EngineImage(name="python")
_API = Build(_SOURCES / "api", name=f"{_NAME}-api", bases={"BASE": _PYTHON})
_WORKER = Build(_SOURCES / "worker", name=f"{_NAME}-worker", bases={"BASE": _PYTHON})
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

chain = System(
    "chain",
    options={
        "connections": Option(20, "that the store accepts"),
        "greeting": Option("hello", "in the environment of the API"),
    },
)


@chain.program
def program(environment: Environment) -> None:
    """The store's URL reaches the others as tasker's does: through its gate."""
    password = environment.credential("store", "password")
    store = Container(
        "store",
        image=_POSTGRES,
        ready=PostgresProbe(user="shop", database="shop"),
        ports={"postgres": Port(5432, scheme="postgresql", path="/shop")},
        variables={"POSTGRES_USER": "shop", "POSTGRES_PASSWORD": password, "POSTGRES_DB": "shop"},
        command=["postgres", "-c", f"max_connections={environment.option('connections')}"],
        volumes={"/var/lib/postgresql/data": "data"},
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
        ports={"http": 8000},
        variables={"STORE_URL": url, "GREETING": str(environment.option("greeting"))},
        memory_mb=64,
        needs=[setup],
        source=Source(folder=_SOURCES / "api", target="/srv"),
    )
    Container(
        "worker",
        image=_WORKER,
        ready=Http("/"),
        ports={"http": 8001},
        variables={"API_URL": "http://api:8000"},
        memory_mb=64,
        needs=[api],
        source=Source(
            folder=_SOURCES / "worker", target="/srv", reload="command", command=("python3", "-c", _RELOADING)
        ),
    )
