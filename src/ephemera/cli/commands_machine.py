"""``doctor`` looks at this machine, ``setup`` makes it ready; and what commands that need it do on their way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import typer

from ephemera.cli import options
from ephemera.cli.console import Output, Screen


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (doctor, setup):
        app.command()(command)


def doctor(output: options.OutputOption = Output.table) -> None:
    """Check every requirement of this machine, with its remedy. Change nothing."""
    from ephemera.setup import doctor as machine_doctor

    arguments = ["--output", "json"] if Screen(output).machine else []
    raise typer.Exit(machine_doctor.main(arguments))


def setup(output: options.OutputOption = Output.table) -> None:
    """Make this machine ready now, which takes minutes once; `up`, `run`, `test` and `env` do it when needed."""
    from ephemera.setup.steps import EVERYTHING

    screen = Screen(output)
    seconds = _ensured(screen, EVERYTHING)
    if screen.machine:
        screen.document({"seconds": round(seconds, 2)})
    else:
        screen.note(f"this machine is ready after {seconds:.1f} s")


def make_ready(
    screen: Screen, what: Literal["environments", "docker"] = "environments", *, system: str | None = None
) -> float:
    """Make what this machine lacks for environments and ``pulumi``, or for images alone; the seconds that it took.

    ``system``: the one that is brought up next.
    """
    from ephemera.docker.connection import DEFAULT_HOST, docker_host
    from ephemera.setup.steps import DOCKER, FOR_ENVIRONMENTS

    wanted = FOR_ENVIRONMENTS if what == "environments" else (DOCKER,)
    # Another engine than the default one is somebody else's to start: the command itself says when it does not answer.
    return _ensured(screen, [name for name in wanted if name != DOCKER or docker_host() == DEFAULT_HOST], system)


def _ensured(screen: Screen, wanted: Sequence[str], system: str | None = None) -> float:
    import time

    from ephemera.setup.steps import ensure

    def tell(names: Sequence[str]) -> None:
        screen.note(f"this machine is made ready first, which may take minutes: {', '.join(names)}")

    started = time.monotonic()
    ensure(wanted, tell, system)
    return time.monotonic() - started
