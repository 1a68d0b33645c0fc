"""The steps that have images pulled or built, each in a process that can be ended."""

from __future__ import annotations

import http.client
import json
import sys
from collections.abc import Collection
from pathlib import Path
from urllib.parse import quote

from ephemera.contract import labels
from ephemera.contract.errors import MachineError
from ephemera.home.paths import state_dir
from ephemera.host import surroundings
from ephemera.machine import dockerd
from ephemera.machine.work import CommandFailedError, Work

BASE_NAME = "base images"
_ENSURE_BASE = """
import sys
from ephemera import images
from ephemera.contract.errors import EphemeraError
from ephemera.contract.images import EngineImage
try:
    mode = images.mode()
    if mode == "local":
        images.ensure([EngineImage(name="base")], mode, lambda line: print(line, flush=True))
except EphemeraError as error:
    sys.exit(str(error))
"""


class SystemImages:
    """Every image of one system of the project in the working directory, whether all of them are there or not."""

    name = "images"

    def __init__(self, system: str) -> None:
        self._system = system
        self._done = False

    def needs(self) -> Collection[str]:
        return (dockerd.NAME,)

    def check(self) -> bool:
        return self._done

    def run(self, work: Work) -> None:
        _run(work, surroundings.folder(), "-m", "ephemera", "images", "build", self._system)
        self._done = True


class BaseImage:
    """Whether a registry answers is known, and where none does, the base of all images is there."""

    name = BASE_NAME

    def needs(self) -> Collection[str]:
        return (dockerd.NAME,)

    def check(self) -> bool:
        mode = known_mode()
        return mode == "registry" or (mode == "local" and base_image() is not None)

    def run(self, work: Work) -> None:
        _run(work, None, "-c", _ENSURE_BASE)


def known_mode() -> str | None:
    """Return ``registry`` or ``local``, as configured or found out before; else None."""
    if (asked := _asked_mode()) not in ("", "auto"):
        return asked
    try:
        known = json.loads((state_dir() / "machine.json").read_text())["images"]
    except (OSError, ValueError, KeyError):
        return None
    return str(known)


def base_image() -> str | None:
    """Return the id of a base image of ours that the engine has, or None."""
    filters = quote(json.dumps({"label": [f"{labels.IMAGE}=base"]}))
    try:
        _, images = dockerd.request("GET", f"/images/json?filters={filters}")
    except (OSError, http.client.HTTPException, MachineError):
        return None
    return str(images[0]["Id"]) if images else None


def _run(work: Work, folder: Path | None, *arguments: str) -> None:
    try:
        work.run([sys.executable, *arguments], cwd=folder)
    except CommandFailedError as failure:
        # The error itself, which a build's last lines follow.
        failure.tail += tuple(line for line in failure.tail if line.startswith("ephemera: "))
        raise failure.as_machine_error("images cannot be made", "see the log") from failure


def _asked_mode() -> str:
    return surroundings.variables().get("EPHEMERA_IMAGES", "")
