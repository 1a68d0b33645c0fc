"""The installed command makes a machine ready by itself, by the launcher's steps: only its virtual environment is there
already, since the command runs from it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from ephemera.host import surroundings
from ephemera.machine.scheduler import Step, make_ready
from ephemera.machine.steps import BASE_IMAGE, DOCKER, ENGINE, LANGUAGE_HOST, PLUGIN, check_architecture, steps_for
from ephemera.machine.venv import NAME as VENV
from ephemera.machine.view import view_for
from ephemera.machine.work import Work

__all__ = ["DOCKER", "EVERYTHING", "FOR_ENVIRONMENTS", "FOR_PULUMI", "InstalledEnvironment", "ensure", "steps"]

# Long builds first: the scheduler starts what it can in this order.
FOR_ENVIRONMENTS = (ENGINE, PLUGIN, DOCKER)
"""What an environment needs to come up, and to be looked at and ended."""
FOR_PULUMI = (*FOR_ENVIRONMENTS, LANGUAGE_HOST)
"""What plain ``pulumi`` needs besides."""
EVERYTHING = (*FOR_PULUMI, BASE_IMAGE)


def ensure(wanted: Sequence[str], tell: Callable[[Sequence[str]], None]) -> None:
    """Make what is not there yet of ``wanted``; ``tell`` is called with its names, before anything is done.

    Costs milliseconds when all of it is there. Raises :class:`MachineError`; what was finished by then is kept.
    """
    check_architecture()
    make_ready(steps(), wanted, view_for(), tell)


def steps() -> dict[str, Step]:
    """Every step there is, in the environment that this runs from."""
    # The same in every project: nothing of a project decides how engine and plugin are made.
    return steps_for(surroundings.folder(), InstalledEnvironment())


class InstalledEnvironment:
    """The environment that ephemera is installed in."""

    name = VENV

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return Path(sys.executable)

    def needs(self) -> Collection[str]:
        return ()

    def check(self) -> bool:
        return True

    def run(self, work: Work) -> None:
        """Never asked for: it is there."""
