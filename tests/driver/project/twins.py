"""A system whose endpoints share container ports: two of one service, one of another, and one of UDP."""

from __future__ import annotations

from ephemera import Container, EngineImage, Environment, Http, Port, System

_PYTHON = EngineImage(name="python")
_SERVE = """import http.server, socket, threading
echo = socket.socket(type=socket.SOCK_DGRAM)
echo.bind(('', 8000))
def answer():
    while True:
        text, sender = echo.recvfrom(100)
        echo.sendto(text.upper(), sender)
threading.Thread(target=answer, daemon=True).start()
http.server.ThreadingHTTPServer(('', 8000), http.server.SimpleHTTPRequestHandler).serve_forever()"""

twins = System(
    "twins",
    fixed_ports={"test": {"web.echo/udp": 28010, "web.http": 28010, "web.ws": 28011, "other.http": 28012}},
)


@twins.program
def program(environment: Environment) -> None:
    """One image and one command; what differs is what is published."""
    http = Port(8000)
    web = {"echo": Port(8000, protocol="udp"), "http": http, "ws": Port(8000, scheme="ws")}
    for service, ports in (("web", web), ("other", {"http": http})):
        Container(
            service,
            image=_PYTHON,
            ready=Http("/"),
            ports=ports,
            command=["python3", "-c", _SERVE],
            run_as="65534",
            memory_mb=64,
        )
