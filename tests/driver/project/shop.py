"""A project of its own with small systems, each of which comes up or fails in one way."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from chain import SYSTEM as CHAIN
from every import SYSTEM as EVERY
from once import SYSTEM as ONCE
from slow import SYSTEM as SLOW
from twins import SYSTEM as TWINS

from ephemera.contract.catalog import Option, Runner, Service, System
from ephemera.contract.images import EngineImage, PublicImage, ServiceImage

if TYPE_CHECKING:
    from ephemera.resources import Environment

PYTHON = EngineImage(name="python")
POSTGRES = EngineImage(name="postgres")
TESTS = ServiceImage(name="shop-tests", context=Path(__file__).parent / "services" / "runner", bases={"BASE": PYTHON})
MISSING = PublicImage(reference="ephemera.invalid/nobody/nothing:1")

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

SYSTEMS = {
    "web": System(
        program="shop:web",
        suite="tests",
        services={
            "web": Service(),
            "shadow": Service(requires=("web",), profile="extra", required=False),
            "web-tests": Service(
                profile="testing", runner=Runner(image=TESTS, coverage=("greeting",), memory_mb=192, cpus=2.0)
            ),
        },
        images=(PYTHON,),
        options={
            "behaviour": Option(type="string", default="serve", help="serve, polite, exit or deaf"),
            "ready_seconds": Option(type="integer", default=30, help="time to become ready"),
            "stop_seconds": Option(type="integer", default=0, help="time to end"),
            "greeting": Option(type="string", default="hello", help="in the environment of the process"),
        },
        fixed_ports={"test": {"web.http": 28000}},
    ),
    "data": System(
        program="shop:data",
        suite="tests",
        services={"postgres": Service(), "data-tests": Service(profile="testing", runner=Runner(image=TESTS))},
        images=(POSTGRES,),
    ),
    "lost": System(program="shop:lost", suite="tests", services={"web": Service()}, images=(MISSING,)),
    "chain": CHAIN,
    "once": ONCE,
    "every": EVERY,
    "twins": TWINS,
    "slow": SLOW,
}


def web(environment: Environment) -> None:
    """A web server, and a second one that publishes nothing."""
    from ephemera.resources import Container, Exec, Http, Port

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
    if "shadow" in environment.selected:
        Container(
            "shadow",
            image=PYTHON,
            ready=Exec(["python3", "-c", "import socket; socket.create_connection(('web', 8000))"]),
            command=command,
            run_as="65534",
            memory_mb=64,
            needs=(server,),
        )


def data(environment: Environment) -> None:
    """PostgreSQL, through the resources alone."""
    from ephemera.resources import Container, HealthCheck, Port, PostgresProbe, Volume

    password = environment.credential("postgres", "password")
    Container(
        "postgres",
        image=POSTGRES,
        ready=PostgresProbe(user="shop", database="shop"),
        ports={"postgres": Port(5432, scheme="postgresql", path="/shop")},
        variables={"POSTGRES_USER": "shop", "POSTGRES_PASSWORD": password, "POSTGRES_DB": "shop"},
        healthcheck=HealthCheck(
            command=["pg_isready", "-U", "shop"],
            interval_seconds=5,
            timeout_seconds=3,
            retries=5,
            start_period_seconds=5,
        ),
        volumes={"/var/lib/postgresql/data": Volume("data")},
        tmpfs={"/tmp": "size=16m", "/var/run/postgresql": "size=1m,mode=1777"},  # noqa: S108 - inside
        run_as="postgres",
        credentials={"password": password},
    )


def lost(environment: Environment) -> None:
    """Never called: its image is not there."""
    raise AssertionError(environment.stack)
