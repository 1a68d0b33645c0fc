"""A system whose server needs a one-shot: it says how many rows it makes, and fails when that cannot be."""

from __future__ import annotations

from pathlib import Path

from ephemera import Build, Container, EngineImage, Environment, ExitZero, Http, Option, System

_PYTHON = EngineImage(name="python")
# Its health check asks a server that a one-shot of the same image is not.
_CHECKED = Build(Path(__file__).parent / "services" / "checked", name="once-checked", bases={"BASE": _PYTHON})
_SETUP = """import sys, time
rows = int(sys.argv[1])
if rows < 0:
    print(f'cannot make {rows} rows', flush=True)
    sys.exit(4)
time.sleep(2)
print(f'made {rows} rows', flush=True)
"""
_SERVE = "import http.server as s; s.ThreadingHTTPServer(('', 8000), s.SimpleHTTPRequestHandler).serve_forever()"

once = System("once", options={"rows": Option(3, "that the one-shot makes")})


@once.program
def program(environment: Environment) -> None:
    """The server is created when the one-shot has ended well."""
    setup = Container(
        "setup",
        image=_CHECKED,
        ready=ExitZero(),
        command=["python3", "-c", _SETUP, str(environment.option("rows"))],
        run_as="65534",
        memory_mb=64,
    )
    Container(
        "web",
        image=_PYTHON,
        ready=Http("/"),
        ports={"http": 8000},
        command=["python3", "-c", _SERVE],
        run_as="65534",
        memory_mb=64,
        needs=[setup],
    )
