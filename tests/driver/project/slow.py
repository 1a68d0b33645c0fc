"""A system whose probe does not behave: it hangs once or always, or its answer trickles."""

from __future__ import annotations

from ephemera import Container, EngineImage, Environment, Exec, Http, Option, System

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

slow = System(
    "slow",
    options={
        "probe": Option("once", "once, always or trickle"),
        "ready_seconds": Option(60, "time to become ready"),
    },
)


@slow.program
def program(environment: Environment) -> None:
    """One container; what differs is how it is asked."""
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
        ports={"http": 8000},
        command=["python3", "-c", _TRICKLE],
        run_as="65534",
        memory_mb=64,
    )
