"""A system whose server needs a one-shot: it says how many rows it makes, and fails when that cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ephemera.contract.catalog import Option, Service, System
from ephemera.contract.images import EngineImage, ServiceImage

if TYPE_CHECKING:
    from ephemera.resources import Environment

_PYTHON = EngineImage(name="python")
# Its health check asks a server that a one-shot of the same image is not.
_CHECKED = ServiceImage(
    name="once-checked", context=Path(__file__).parent / "services" / "checked", bases={"BASE": _PYTHON}
)
_SETUP = """import sys, time
rows = int(sys.argv[1])
if rows < 0:
    print(f'cannot make {rows} rows', flush=True)
    sys.exit(4)
time.sleep(2)
print(f'made {rows} rows', flush=True)
"""
_SERVE = "import http.server as s; s.ThreadingHTTPServer(('', 8000), s.SimpleHTTPRequestHandler).serve_forever()"

SYSTEM = System(
    program="once:program",
    suite="tests",
    services={"setup": Service(), "web": Service(requires=("setup",))},
    images=(_PYTHON, _CHECKED),
    options={"rows": Option(type="integer", default=3, help="that the one-shot makes")},
)


def program(environment: Environment) -> None:
    """The server is created when the one-shot has ended well."""
    from ephemera.resources import Container, ExitZero, Http, Port

    setup = Container(
        "setup",
        image=_CHECKED,
        ready=ExitZero(),
        command=["python3", "-c", _SETUP, str(environment.option("rows"))],
        run_as="65534",
        memory_mb=64,
    )
    if "web" in environment.selected:
        Container(
            "web",
            image=_PYTHON,
            ready=Http("/"),
            ports={"http": Port(8000)},
            command=["python3", "-c", _SERVE],
            run_as="65534",
            memory_mb=64,
            needs=(setup,),
        )
