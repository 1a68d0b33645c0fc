"""The launcher behind ``./ephemera``: makes the machine ready for a command, then becomes the installed one."""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from ephemera.contract.errors import EphemeraError, InterruptedByUserError
from ephemera.host import surroundings
from ephemera.machine.scheduler import make_ready
from ephemera.machine.steps import DOCKER, ENGINE, IMAGES, LANGUAGE_HOST, PLUGIN, check_architecture, steps_for
from ephemera.machine.venv import NAME as VENV
from ephemera.machine.venv import VirtualEnvironment, base_interpreter
from ephemera.machine.view import view_for

# `env` is for `pulumi up` by hand, which is what the language host is for.
_LOOKING = frozenset({"down", "exec", "extend", "logs", "ls", "outputs", "reap", "restart", "shell", "status", "test"})
_CHOSEN = "ephemera-chosen"
"""An option of the interpreter that says that it is not to be left for another one."""
_MAKING_A_SYSTEM = frozenset({"dev", "run", "up"})


def main(project: Path, argv: Sequence[str]) -> int:
    """Run ``ephemera`` with these arguments; returns the exit code, or becomes the installed command."""
    began = time.monotonic()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        if argv[:1] == ["doctor"]:
            # Imported here: it is the only command that needs it, and every command pays for what is imported.
            from ephemera.machine import doctor

            parts = (*doctor.PARTS, VENV)
            return doctor.main(lambda: steps_for(project, VirtualEnvironment(project)), argv[1:], parts=parts)
        check_architecture()
        environment = VirtualEnvironment(project)
        _stay_with(environment.interpreter(), project, argv)
        # Called from another project, the system that is named is that one's: the driver makes its images.
        asked = argv if surroundings.folder().is_relative_to(project) else argv[:1]
        make_ready(steps_for(project, environment, _system(asked)), needed_by(asked), view_for())
    except KeyboardInterrupt:
        return _failed(InterruptedByUserError("interrupted while the machine was made ready"), argv)
    except EphemeraError as error:
        return _failed(error, argv)
    return _become(environment.command, argv, time.monotonic() - began)


def needed_by(argv: Sequence[str]) -> tuple[str, ...]:
    """Names of the steps that a command needs."""
    own = _own(argv)
    command = own[0] if own else "--help"
    if command.startswith("-") or "--help" in own:
        return (VENV,)
    # Long builds first: the scheduler starts what it can in this order.
    looking = (ENGINE, PLUGIN, DOCKER, VENV)
    if command in _LOOKING:
        return looking
    return (*looking, LANGUAGE_HOST, IMAGES) if _system(argv) else (*looking, LANGUAGE_HOST)


def wants_json(argv: Sequence[str]) -> bool:
    """Whether the command line asks for one JSON document on stdout."""
    own = _own(argv)
    pairs = itertools.pairwise(own)
    return "--output=json" in own or ("--output", "json") in pairs or os.environ.get("EPHEMERA_OUTPUT") == "json"


def _own(argv: Sequence[str]) -> list[str]:
    """The arguments before ``--``: the others are pytest's."""
    return list(itertools.takewhile(lambda argument: argument != "--", argv))


def _system(argv: Sequence[str]) -> str | None:
    """The system whose images can be made ready early; where it is not named first, the driver makes them itself."""
    own = _own(argv)
    if len(own) > 1 and own[0] in _MAKING_A_SYSTEM and not own[1].startswith("-"):
        return own[1]
    return None


def _failed(error: EphemeraError, argv: Sequence[str]) -> int:
    print(f"ephemera: {error}", file=sys.stderr)
    if wants_json(argv):
        print(json.dumps(error.document()))
    return error.exit_code


def _stay_with(interpreter: Path | None, project: Path, argv: Sequence[str]) -> None:
    """Go on in ``interpreter``, unless it is the one that runs this: what runs from an environment of one version finds
    nothing in that of another."""
    if interpreter is None or interpreter == Path(base_interpreter()).resolve() or _CHOSEN in sys._xoptions:
        return
    os.execv(interpreter, [str(interpreter), "-X", _CHOSEN, str(project / "ephemera"), *argv])  # noqa: S606


def _become(command: Path, argv: Sequence[str], seconds: float) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(  # noqa: S606  (no shell is what is wanted)
        command, [str(command), *argv], {**os.environ, "EPHEMERA_READY_SECONDS": f"{seconds:.3f}"}
    )


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
