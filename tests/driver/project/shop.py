"""A project of its own with small systems, each of which comes up or fails in one way."""

from __future__ import annotations

from pathlib import Path

from chain import chain
from every import every
from once import once
from slow import slow
from twins import twins

from ephemera import (
    Build,
    Container,
    EngineImage,
    Environment,
    Exec,
    HealthCheck,
    Http,
    Option,
    Port,
    Runner,
    System,
)
from ephemera.host.probes import PostgresProbe

PYTHON = EngineImage(name="python")
POSTGRES = EngineImage(name="postgres")
TESTS = Build(Path(__file__).parent / "services" / "runner", name="shop-tests", bases={"BASE": PYTHON})
MISSING = "ephemera.invalid/nobody/nothing:1"

_SERVE = "import http.server as s; s.ThreadingHTTPServer(('', 8000), s.SimpleHTTPRequestHandler).serve_forever()"
_POLITE = f"""import signal, sys, time
def end(*_):
    time.sleep(2)
    print('ended politely', flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print('serving', flush=True)
{_SERVE}"""
_COMMANDS = {
    "serve": _SERVE,
    "polite": _POLITE,
    "exit": "import time, sys; print('cannot find the config', flush=True); time.sleep(0.3); sys.exit(7)",
    "deaf": "import time; print('thinking', flush=True); time.sleep(600)",
}

_web = System(
    "web",
    options={
        "behaviour": Option("serve", "serve, polite, exit or deaf"),
        "ready_seconds": Option(30, "time to become ready"),
        "stop_seconds": Option(0, "time to end"),
        "greeting": Option("hello", "in the environment of the process"),
    },
    fixed_ports={"test": {"web.http": 28000}},
    runner=Runner(name="web-tests", image=TESTS, coverage=("greeting",), memory_mb=192, cpus=2.0),
)
_data = System("data", runner=Runner(name="data-tests", image=TESTS))
_lost = System("lost")
SYSTEMS = (_web, _data, _lost, chain, once, every, twins, slow)


@_web.program
def web(environment: Environment) -> None:
    """A web server, and a second one that publishes nothing."""
    command = ["python3", "-c", _COMMANDS[str(environment.option("behaviour"))]]
    server = Container(
        "web",
        image=PYTHON,
        ready=Http("/"),
        timeout_seconds=float(environment.option("ready_seconds")),
        ports={"http": Port(8000)},
        variables={"GREETING": str(environment.option("greeting"))},
        stop_grace_seconds=int(environment.option("stop_seconds")),
        command=command,
        run_as="65534",
        memory_mb=64,
    )
    Container(
        "shadow",
        image=PYTHON,
        ready=Exec(["python3", "-c", "import socket; socket.create_connection(('web', 8000))"]),
        command=command,
        run_as="65534",
        memory_mb=64,
        needs=[server],
        profile="extra",
    )


@_data.program
def data(environment: Environment) -> None:
    """PostgreSQL, through the resources alone."""
    password = environment.credential("postgres", "password")
    Container(
        "postgres",
        image=POSTGRES,
        ready=PostgresProbe(user="shop", database="shop"),
        ports={"postgres": Port(5432, scheme="postgresql", path="/shop")},
        variables={"POSTGRES_USER": "shop", "POSTGRES_PASSWORD": password, "POSTGRES_DB": "shop"},
        healthcheck=HealthCheck(
            ["pg_isready", "-U", "shop"], interval_seconds=5, timeout_seconds=3, retries=5, start_period_seconds=5
        ),
        volumes={"/var/lib/postgresql/data": "data"},
        tmpfs={"/tmp": "size=16m", "/var/run/postgresql": "size=1m,mode=1777"},  # noqa: S108 - inside
        run_as="postgres",
        credentials={"password": password},
    )


@_lost.program
def lost(_environment: Environment) -> None:
    """Its image is not there."""
    Container("web", image=MISSING, ready=Http("/"), ports={"http": 8000}, run_as="65534")
