"""``doctor`` looks at this machine, ``setup`` makes it ready; and what commands that need it do on their way."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from ephemera.cli import options
from ephemera.cli.console import Output, Screen


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (doctor, setup):
        app.command()(command)


def doctor(output: options.OutputOption = Output.table) -> None:
    """Every requirement of this machine: its state, and what to do about it. Changes nothing."""
    from ephemera.machine import doctor as machine_doctor
    from ephemera.machine.installed import steps

    arguments = ["--output", "json"] if Screen(output).machine else []
    raise typer.Exit(machine_doctor.main(steps, arguments))


def setup(output: options.OutputOption = Output.table) -> None:
    """Make this machine ready now, which takes minutes once; `up`, `run`, `test` and `env` do it on their way."""
    from ephemera.machine.installed import EVERYTHING

    screen = Screen(output)
    seconds = _ensured(screen, EVERYTHING)
    if screen.machine:
        screen.document({"seconds": round(seconds, 2)})
    else:
        screen.note(f"this machine is ready after {seconds:.1f} s")


def make_ready(screen: Screen, *, for_pulumi: bool = False) -> float:
    """Make what this machine lacks for environments, or for plain ``pulumi`` too; the seconds that it took."""
    from ephemera.host.engine import DEFAULT_HOST, docker_host
    from ephemera.machine.installed import DOCKER, FOR_ENVIRONMENTS, FOR_PULUMI

    wanted: Sequence[str] = FOR_PULUMI if for_pulumi else FOR_ENVIRONMENTS
    if docker_host() != DEFAULT_HOST:
        # Somebody else's to start: the command itself says when it does not answer.
        wanted = [name for name in wanted if name != DOCKER]
    return _ensured(screen, wanted)


def _ensured(screen: Screen, wanted: Sequence[str]) -> float:
    import time

    from ephemera.machine.installed import ensure

    def tell(names: Sequence[str]) -> None:
        screen.note(f"this machine is made ready first, which may take minutes: {', '.join(names)}")

    started = time.monotonic()
    ensure(wanted, tell)
    return time.monotonic() - started
