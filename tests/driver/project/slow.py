"""A system whose probe does not behave: it hangs once or always, or its answer trickles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ephemera.contract.catalog import Option, Service, System
from ephemera.contract.images import EngineImage

if TYPE_CHECKING:
    from ephemera.resources import Environment

_PYTHON = EngineImage(name="python")
_ONCE = "if [ -e /tmp/asked ]; then exit 0; fi; touch /tmp/asked; sleep 600"
_TRICKLE = """import socket, threading, time
def answer(connection):
    try:
        for byte in b'HTTP/1.1 200 OK' + b' ' * 10_000:
            connection.sendall(bytes([byte]))
            time.sleep(0.3)
    except OSError:
        pass
server = socket.create_server(('', 8000))
while True:
    threading.Thread(target=answer, args=(server.accept()[0],), daemon=True).start()"""

SYSTEM = System(
    program="slow:program",
    suite="tests",
    services={"web": Service()},
    images=(_PYTHON,),
    options={
        "probe": Option(type="string", default="once", help="once, always or trickle"),
        "ready_seconds": Option(type="integer", default=60, help="time to become ready"),
    },
)


def program(environment: Environment) -> None:
    """One container; what differs is how it is asked."""
    from ephemera.resources import Container, Exec, Http, Port

    probes = {
        "once": Exec(["sh", "-c", _ONCE], timeout_seconds=1),
        "always": Exec(["sleep", "600"], timeout_seconds=1),
        "trickle": Http("/", timeout_seconds=1),
    }
    Container(
        "web",
        image=_PYTHON,
        ready=probes[str(environment.option("probe"))],
        timeout_seconds=float(environment.option("ready_seconds")),
        ports={"http": Port(8000)},
        command=["python3", "-c", _TRICKLE],
        run_as="65534",
        memory_mb=64,
    )
