"""What the ``ephemera`` command makes on a machine that lacks it, side by side, on the way of whatever needs it."""

from __future__ import annotations

import http.client
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import quote

from ephemera.home.paths import state_dir
from ephemera.host import surroundings
from ephemera.model import labels
from ephemera.model.errors import MachineError
from ephemera.setup import dockerd, go, toolchain
from ephemera.setup.artifacts import data_dir, published
from ephemera.setup.scheduler import Step, make_ready
from ephemera.setup.work import CommandFailedError, Work

_ENSURE_BASE = """
import sys
from ephemera import images
from ephemera.model.errors import EphemeraError
from ephemera.model.images import EngineImage
try:
    if (mode := images.mode()) == "local":
        images.ensure([EngineImage(name="base")], mode, lambda line: print(line, flush=True))
except EphemeraError as error:
    sys.exit(str(error))
"""


class BuiltToolchain:
    """Pulumi's engine and language host, and the Docker plugin: installed, or built with Go from pinned sources."""

    name = "toolchain"

    def check(self) -> bool:
        if not toolchain.is_complete(toolchain.toolchain_dir()):
            return toolchain.prebuilt() is not None
        toolchain.check_programs()
        return True

    def run(self, work: Work) -> None:
        folder = toolchain.toolchain_dir()
        with work.alone(f"toolchain-{folder.name}"):
            if self.check():
                return
            build = [sys.executable, str(data_dir("toolchain") / "build.py")]
            try:
                with published(folder) as partial:
                    work.run([*build, str(partial), str(go.ensured(work))])
            except CommandFailedError as failure:
                remedy = f"try `python build.py FOLDER` in {data_dir('toolchain')}"
                raise failure.as_machine_error("the toolchain cannot be built", remedy) from failure


class SystemImages:
    """Every image of one system of the project in the working directory; each of them is looked at."""

    name = "images"

    def __init__(self, system: str) -> None:
        self._system = system
        self._done = False

    def check(self) -> bool:
        return self._done

    def run(self, work: Work) -> None:
        _make_images(work, surroundings.folder(), "-m", "ephemera", "images", "build", self._system)
        self._done = True


class BaseImage:
    """It is known whether a registry answers; where none does, the base of all local images is there."""

    name = "base images"

    def check(self) -> bool:
        mode = known_mode()
        return mode == "registry" or (mode == "local" and base_image() is not None)

    def run(self, work: Work) -> None:
        _make_images(work, None, "-c", _ENSURE_BASE)


TOOLCHAIN, DOCKER, BASE_IMAGE = BuiltToolchain.name, dockerd.DockerEngine.name, BaseImage.name
FOR_ENVIRONMENTS = (TOOLCHAIN, DOCKER)
"""What an environment needs to come up, and to be looked at and ended; plain ``pulumi``, too."""
EVERYTHING = (*FOR_ENVIRONMENTS, BASE_IMAGE)


def ensure(wanted: Sequence[str], tell: Callable[[Sequence[str]], None], system: str | None = None) -> None:
    """Make what is not there yet of ``wanted``; ``tell`` is called with its names, before anything is done.

    ``system``: one of the project in the working directory that is brought up next. Where something has to be made, its
    images are made beside that.

    Costs milliseconds when all of it is there. Raises :class:`MachineError`; what was finished by then is kept.
    """
    toolchain.check_architecture()
    known: tuple[Step, ...] = (BuiltToolchain(), dockerd.DockerEngine(), BaseImage())
    steps = [step for step in known if step.name in wanted]
    if system and not all(step.check() for step in steps):
        steps.append(SystemImages(system))
    # Images need the Docker engine; the toolchain needs nothing.
    make_ready(
        [step for step in steps if step.name == TOOLCHAIN],
        [step for step in steps if step.name != TOOLCHAIN],
        tell=tell,
    )


def known_mode() -> str | None:
    """Return ``registry`` or ``local``, as configured or found out before; else None."""
    if (asked := surroundings.variables().get("EPHEMERA_IMAGES", "")) not in ("", "auto"):
        return asked
    try:
        return str(json.loads((state_dir() / "machine.json").read_text())["images"])
    except (OSError, ValueError, KeyError):
        return None


def base_image() -> str | None:
    """Return the id of a base image of ours that the engine has, or None."""
    filters = quote(json.dumps({"label": [f"{labels.IMAGE}=base"]}))
    try:
        _, images = dockerd.request("GET", f"/images/json?filters={filters}")
    except (OSError, http.client.HTTPException, MachineError):
        return None
    return str(images[0]["Id"]) if images else None


def _make_images(work: Work, folder: Path | None, *arguments: str) -> None:
    try:
        work.run([sys.executable, *arguments], cwd=folder)
    except CommandFailedError as failure:
        # The error is not the last line: those of the build follow it.
        failure.tail += tuple(line for line in failure.tail if line.startswith("ephemera: "))
        raise failure.as_machine_error("images cannot be made", "see the log") from failure
