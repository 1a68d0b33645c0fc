"""The steps that have images pulled or built, by ``ephemera.images`` in the environment that it is installed in.

For a system's images that takes a second even when nothing is to be done, so what it looked at is remembered: while
none of those files has changed and the engine has every image, the answer is known.
"""

from __future__ import annotations

import http.client
import json
import os
import time
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from urllib.parse import quote

from ephemera.contract import labels
from ephemera.contract.errors import EphemeraError, InputError, MachineError
from ephemera.home.paths import checkout_dir, state_dir
from ephemera.host import surroundings
from ephemera.machine import dockerd
from ephemera.machine.artifacts import content_hash, published
from ephemera.machine.venv import NAME as VENV
from ephemera.machine.venv import PythonEnvironment
from ephemera.machine.work import CommandFailedError, Work

NAME = "images"
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
    """Every image of one system."""

    name = NAME

    def __init__(self, project: Path, system: str, environment: PythonEnvironment) -> None:
        self._project = project
        self._system = system
        self._environment = environment
        self._stamp = project / ".ephemera" / "images" / f"{content_hash((), system)}.json"

    def needs(self) -> Collection[str]:
        return (VENV, dockerd.NAME)

    def check(self) -> bool:
        try:
            known = json.loads(self._stamp.read_text())
            watched, references, asked = known["watched"], known["references"], known["mode"]
        except (OSError, ValueError, KeyError):
            return False
        try:
            return (
                asked == _asked_mode()
                and all(_fingerprint(Path(path)) == was for path, was in watched.items())
                and all(dockerd.has_image(reference) for reference in references)
            )
        except (OSError, http.client.HTTPException, MachineError):
            return False

    def run(self, work: Work) -> None:
        began = time.time_ns()
        checkout_dir(self._project)
        self._stamp.parent.mkdir(exist_ok=True)
        report = self._stamp.with_suffix(f".{os.getpid()}.report")
        module = [str(self._environment.python), "-m", "ephemera.images"]
        try:
            work.run([*module, "ensure", self._system, "--report", str(report)], cwd=self._project)
            self._remember(json.loads(report.read_text()), began)
        except CommandFailedError as failure:
            raise _reported(report, failure) from failure
        finally:
            report.unlink(missing_ok=True)

    def _remember(self, report: dict[str, list[str]], began: int) -> None:
        watched = {path: _fingerprint(Path(path)) for path in report["watched"]}
        if any(_newest(Path(path)) >= began for path in watched):
            # Edited while it was built: nobody knows which of the two is in the image. The driver looks again.
            watched[str(self._project)] = "edited meanwhile"
        known = {"mode": _asked_mode(), "watched": watched, "references": report["references"]}
        with published(self._stamp) as partial:
            partial.write_text(json.dumps(known))


class BaseImage:
    """Whether a registry answers is known, and where none does, the base of all images is there."""

    name = BASE_NAME

    def __init__(self, environment: PythonEnvironment) -> None:
        self._environment = environment

    def needs(self) -> Collection[str]:
        return (VENV, dockerd.NAME)

    def check(self) -> bool:
        mode = known_mode()
        return mode == "registry" or (mode == "local" and base_image() is not None)

    def run(self, work: Work) -> None:
        try:
            work.run([str(self._environment.python), "-c", _ENSURE_BASE])
        except CommandFailedError as failure:
            raise failure.as_machine_error("the base image cannot be made", "see the log") from failure


def known_mode() -> str | None:
    """``registry`` or ``local``, as configured or found out before; else None."""
    if (asked := _asked_mode()) not in ("", "auto"):
        return asked
    try:
        known = json.loads((state_dir() / "machine.json").read_text())["images"]
    except (OSError, ValueError, KeyError):
        return None
    return str(known)


def base_image() -> str | None:
    """Id of a base image of ours that the engine has."""
    filters = quote(json.dumps({"label": [f"{labels.IMAGE}=base"]}))
    try:
        _, images = dockerd.request("GET", f"/images/json?filters={filters}")
    except (OSError, http.client.HTTPException, MachineError):
        return None
    return str(images[0]["Id"]) if images else None


class ReportedError(EphemeraError):
    """An error that the child process described, with the exit code that it asked for."""

    def __init__(self, message: str, *, remedy: str, kind: str, exit_code: int) -> None:
        super().__init__(message, remedy=remedy)
        # Elsewhere they belong to the class; here they are whatever the child's class had.
        self.__dict__.update(kind=kind, exit_code=exit_code)


def _reported(report: Path, failure: CommandFailedError) -> EphemeraError:
    try:
        document = json.loads(report.read_text())["error"]
    except (OSError, ValueError, KeyError):
        return failure.as_machine_error("the images cannot be made", "see the log")
    # A name or a file that is wrong is the user's input; all the rest keeps the machine from being ready.
    exit_code = InputError.exit_code if failure.code == InputError.exit_code else MachineError.exit_code
    return ReportedError(document["message"], remedy=document["remedy"], kind=document["kind"], exit_code=exit_code)


def _asked_mode() -> str:
    return surroundings.variables().get("EPHEMERA_IMAGES", "")


def _fingerprint(path: Path) -> str:
    return content_hash(
        (), *(f"{name} {state.st_mtime_ns} {state.st_size} {state.st_mode}" for name, state in _states(path))
    )


def _newest(path: Path) -> int:
    return max((state.st_mtime_ns for _, state in _states(path)), default=0)


def _states(path: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Every file below ``path``, or itself, with its state, in a fixed order."""
    if path.is_dir():
        entries: Iterable[os.DirEntry[str]] = sorted(os.scandir(path), key=lambda entry: entry.name)
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if entry.name != "__pycache__":
                    yield from _states(Path(entry.path))
            else:
                yield entry.path, entry.stat(follow_symlinks=False)
    elif path.exists():
        yield str(path), path.stat()
