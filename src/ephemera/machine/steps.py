"""What the ``ephemera`` command makes on a machine that lacks it, side by side, on the way of whatever needs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ephemera.machine import builds, dockerd, go, prebuilt
from ephemera.machine.scheduler import Step, make_ready
from ephemera.machine.toolchain import check_architecture, check_choices
from ephemera.machine.view import view_for

ENGINE, LANGUAGE_HOST, PLUGIN = builds.BuiltEngine.name, builds.BuiltLanguageHost.name, builds.BuiltPlugin.name
DOCKER, BASE_IMAGE = dockerd.NAME, prebuilt.BASE_NAME
# Long builds first: the scheduler starts what it can in this order.
FOR_ENVIRONMENTS = (ENGINE, PLUGIN, DOCKER)
"""What an environment needs to come up, and to be looked at and ended."""
FOR_PULUMI = (*FOR_ENVIRONMENTS, LANGUAGE_HOST)
"""What plain ``pulumi`` needs besides."""
EVERYTHING = (*FOR_PULUMI, BASE_IMAGE)


def ensure(wanted: Sequence[str], tell: Callable[[Sequence[str]], None], system: str | None = None) -> None:
    """Make what is not there yet of ``wanted``; ``tell`` is called with its names, before anything is done.

    ``system``: one of the project in the working directory that is brought up next. Where something has to be made, its
    images are made beside that.

    Costs milliseconds when all of it is there. Raises :class:`MachineError`; what was finished by then is kept.
    """
    check_architecture()
    found = steps()
    if system and not all(found[name].check() for name in wanted):
        images = prebuilt.SystemImages(system)
        found, wanted = {**found, images.name: images}, (*wanted, images.name)
    make_ready(found, wanted, view_for(), tell)


def steps() -> dict[str, Step]:
    """Return every step there is, by name."""
    check_choices()
    found: tuple[Step, ...] = (
        *(dockerd.DockerEngine(), go.GoCompiler(), prebuilt.BaseImage()),
        *(builds.BuiltEngine(), builds.BuiltLanguageHost(), builds.BuiltPlugin()),
    )
    return {step.name: step for step in found}
