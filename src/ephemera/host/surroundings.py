"""What this process found around it when it started: its variables, its working directory, and what follows from them.

Other people's code runs in our processes: tests, a project's catalog, its program. It sets ``HOME``, clears
``os.environ``, deletes the working directory. What an environment was made with has to be found again when it is taken
down, so everything of ours, and every process that we start, gets the surroundings from here (``test_surroundings.py``
holds the sources to that). What a test sets reaches the programs that the test starts, and nothing of ours.

They are taken when this module is imported; under pytest once more, right before the first conftest is loaded.
Standard library and contract only: the launcher needs it before anything is installed.
"""

from __future__ import annotations

import json
import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from ephemera.model.errors import InputError, MachineError

REMEDY = "set HOME, or XDG_STATE_HOME and XDG_CACHE_HOME, to folders that you can write to"
"""For a user who has no place for what is kept."""
_BY_WORKER = "PYTEST_XDIST_"
"""Variables that a worker of pytest-xdist has to itself."""


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """``folder``: the working directory; None where it had been deleted."""

    variables: Mapping[str, str]
    folder: str | None


def take() -> None:
    """Take the surroundings of this process as they are now: it has just become another program."""
    keep(Surroundings(variables=MappingProxyType(dict(os.environ)), folder=_working_directory()))


def keep(surroundings: Surroundings) -> None:
    """Use these from now on."""
    global _kept
    _kept = surroundings


def handed_on() -> str:
    """These surroundings as text, for a process that is part of the same run: see :func:`adopt`."""
    return json.dumps({"variables": dict(_kept.variables), "folder": _kept.folder})


def adopt(text: str) -> None:
    """Use the surroundings of the process that started this one, which may have started it with others. A worker of
    pytest-xdist keeps the variables that are about itself."""
    found = json.loads(text)
    own = {name: value for name, value in _kept.variables.items() if name.startswith(_BY_WORKER)}
    keep(Surroundings(variables=MappingProxyType({**found["variables"], **own}), folder=found["folder"]))


def variables() -> Mapping[str, str]:
    """The environment variables."""
    return _kept.variables


def folder() -> Path:
    """The working directory; raises :class:`InputError` if it had been deleted."""
    if _kept.folder is None:
        raise InputError("the working directory has been deleted", remedy="change to one that is there")
    return Path(_kept.folder)


def home() -> Path:
    """The user's home, from ``HOME`` or the user database; raises :class:`MachineError` without an absolute one."""
    named = variables().get("HOME")
    if named:
        if not named.startswith("/"):
            raise MachineError(f"HOME is {named!r}, which is no absolute path", remedy=REMEDY)
        return Path(named)
    try:
        recorded = pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        recorded = ""
    if not recorded.startswith("/"):
        raise MachineError(f"HOME is not set, and user {os.getuid()} has no home in /etc/passwd", remedy=REMEDY)
    return Path(recorded)


def user() -> str:
    """The user's name, from the variables that give it or the user database; ``uid-1234`` for one without a name."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        if found := variables().get(name):
            return found
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid-{os.getuid()}"


def temporary() -> str:
    """A folder for temporary files: ``TMPDIR`` if it can be written to, else the system's."""
    named = [found for name in ("TMPDIR", "TEMP", "TMP") if (found := variables().get(name))]
    for candidate in (*named, "/tmp", "/var/tmp", "/usr/tmp"):  # noqa: S108 - as the standard library
        if candidate.startswith("/") and Path(candidate).is_dir() and os.access(candidate, os.W_OK | os.X_OK):
            return candidate
    raise MachineError("there is no folder for temporary files", remedy="set TMPDIR to one that you can write to")


def _working_directory() -> str | None:
    try:
        return str(Path.cwd())
    except FileNotFoundError:
        return None


_kept: Surroundings
take()
