"""A system of one service that is given a secret and talks of it: what it may not find its way into, tests look for."""

from __future__ import annotations

from ephemera import Container, EngineImage, Environment, HealthCheck, Http, Option, System

FIXED_PORT = 28917
_PYTHON = EngineImage(name="python")
_SERVER = """
import base64, http.server, os, sys, time
token = os.environ["TOKEN"]
if os.environ["BEHAVIOUR"] != "quiet":
    print("token", token, flush=True)
    print("Authorization: Basic", base64.b64encode(b"user:" + token.encode()).decode(), flush=True)
    print("in hex", token.encode().hex(), flush=True)
if os.environ["BEHAVIOUR"] == "exit":
    sys.exit(3)
http.server.ThreadingHTTPServer(("", 8000), http.server.SimpleHTTPRequestHandler).serve_forever()
"""

vault = System(
    "vault",
    options={"behaviour": Option("quiet", "quiet, talk or exit")},
    fixed_ports={"test": {"vault.http": FIXED_PORT}},
)


@vault.program
def program(environment: Environment) -> None:
    """One web server."""
    token = environment.credential("vault", "token")
    Container(
        "vault",
        image=_PYTHON,
        ready=Http("/"),
        ports={"http": 8000},
        variables={"TOKEN": token, "BEHAVIOUR": str(environment.option("behaviour"))},
        command=["python3", "-c", _SERVER],
        healthcheck=HealthCheck(
            command=["python3", "-c", "import socket; socket.create_connection(('127.0.0.1', 8000))"],
            interval_seconds=5,
            timeout_seconds=3,
            retries=5,
            start_period_seconds=5,
        ),
        run_as="65534",
        memory_mb=64,
        pids=64,
        credentials={"token": token},
    )
