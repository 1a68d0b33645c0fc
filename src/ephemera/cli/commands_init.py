"""``init``: write a project of one's own."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from ephemera.model.errors import InputError
from ephemera.model.images import is_reference
from ephemera.model.names import check_system_name

_PULUMI = "name: {name}\nruntime: python\n"
_PROGRAM = '''"""The Pulumi program of every stack of {name}."""

from ephemera import {imports}
from ephemera.components import WebService

system = System("{name}")


@system.program
def program(environment):
    WebService(
        "{service}",
        image={image},
        port={port},
        health="{health}",
        run_as="65534:65534",  # not root; delete this line if the image has a user of its own
    )


run(system)
'''
_TEST = """def test_it_answers(environment):
    assert environment.http("{service}").get("{health}").status_code == 200
"""
_IGNORED = (".ephemera/", "Pulumi.*.yaml", "__pycache__/")
_QUESTION = "Image, or folder with a Dockerfile (empty: a small web server, to try it)"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(init)


def init(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Of the system. Default: the folder's.")] = None,
    image: Annotated[str | None, typer.Option("--image", help="Image of its service: nats:2.")] = None,
    build: Annotated[str | None, typer.Option("--build", help="Folder with the Dockerfile of its service.")] = None,
    port: Annotated[int, typer.Option("--port", help="Port on which the service answers HTTP.")] = 8000,
    health: Annotated[str, typer.Option("--health", help="Path that answers 200 once it is ready.")] = "/",
) -> None:
    """Write a project with one service and one test into this folder.

    Without --image or --build, asks on a terminal; the default is a small web server. Refuses to overwrite files; adds
    to .gitignore the lines that it lacks.
    """
    if image is None and build is None and sys.stdin.isatty():
        given = typer.prompt(_QUESTION, "", show_default=False).strip()
        if given:
            port = typer.prompt("Port on which it answers HTTP", port, type=int)
        image, build = (None, given) if Path(given).is_dir() and given else (given or None, None)
    system = _slug(Path.cwd().name, 24) if name is None else name
    _check(system, image, build, port, health)
    values = {"name": system, "port": port, "health": health, **_service(system, image, build, port)}
    test = f"tests/test_{values['service']}.py".replace("-", "_")
    files = {Path(path): text for path, text in (("Pulumi.yaml", _PULUMI), ("__main__.py", _PROGRAM), (test, _TEST))}
    if there := [str(path) for path in files if path.exists()]:
        raise InputError(f"{', '.join(there)} exists", remedy="delete it, or run `ephemera init` in another folder")
    for path, text in files.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text.format(**values))
        typer.echo(f"wrote {path}")
    _ignore(Path(".gitignore"))
    in_git = any((folder / ".git").exists() for folder in (Path.cwd(), *Path.cwd().parents))
    typer.echo(f"next: {'' if in_git else 'git init && '}ephemera run, or ephemera up for an environment that stays")


def _check(system: str, image: str | None, build: str | None, port: int, health: str) -> None:
    """Raise for values that the files could not hold."""
    check_system_name(system)
    if image is not None and build is not None:
        raise InputError("both --image and --build are given", remedy="give one of them")
    if image is not None and not is_reference(image):
        raise InputError(f"--image is {image!r}", remedy="give an image such as nats:2, or --build FOLDER")
    if build is not None and not (Path(build) / "Dockerfile").is_file():
        raise InputError(f"{build} has no Dockerfile", remedy="give --build a folder with a Dockerfile")
    if not 1 <= port <= 65535:
        raise InputError(f"--port is {port}", remedy="give a port from 1 to 65535")
    if not re.fullmatch(r"/[\w./~%?=&-]*", health):
        raise InputError(f"--health is {health!r}", remedy="give a path: /health")


def _service(system: str, image: str | None, build: str | None, port: int) -> dict[str, str]:
    """Return what the files say of the service: its name, its image, and what the program imports for that."""
    if build is not None:
        folder = Path(build).resolve()
        relative = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
        name = _slug(relative.name, 40, system)
        return {"service": name, "image": f"Build({json.dumps(relative.as_posix())})", "imports": "Build, System, run"}
    if image is not None:
        name = _slug(re.split("[:@]", image.rpartition("/")[2])[0], 40, "web")
        return {"service": name, "image": f'"{image}"', "imports": "System, run"}
    command = f'command=["python3", "-m", "http.server", "{port}"]'
    given = f'EngineImage("python"),\n        {command}'
    return {"service": "web", "image": given, "imports": "EngineImage, System, run"}


def _slug(text: str, length: int, default: str = "app") -> str:
    """Return ``text`` as a name of at most ``length`` lower-case letters, digits and hyphens."""
    found = re.sub(r"[^a-z0-9]+", "-", text.lower()).lstrip("-0123456789")[:length].rstrip("-")
    return found or default


def _ignore(file: Path) -> None:
    """Add what git is to ignore, as far as ``file`` does not name it."""
    text = file.read_text() if file.exists() else ""
    if lacking := [line for line in _IGNORED if line not in text.splitlines()]:
        file.write_text("\n".join([*([text.rstrip("\n")] if text.strip() else []), *lacking, ""]))
        typer.echo(f"wrote {file}")
