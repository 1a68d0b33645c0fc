"""The launcher behind ``./ephemera``: makes the checkout's virtual environment, then becomes the command in it."""

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

from ephemera.model.errors import EphemeraError, InterruptedByUserError
from ephemera.setup.scheduler import make_ready
from ephemera.setup.toolchain import check_architecture
from ephemera.setup.venv import VirtualEnvironment, base_interpreter

_CHOSEN = "ephemera-chosen"
"""An option of the interpreter: it stays the one that runs the launcher."""


def main(project: Path, argv: Sequence[str]) -> int:
    """Become the installed command with these arguments; return the exit code where that cannot be."""
    began = time.monotonic()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        if argv[:1] == ["doctor"]:
            # Imported here: it is the only command that needs it, and every command pays for what is imported.
            from ephemera.setup import doctor

            signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` ends it without a word
            return doctor.main(argv[1:], VirtualEnvironment(project))
        check_architecture()
        environment = VirtualEnvironment(project)
        if not environment.check():
            _stay_with(environment.interpreter(), project, argv)
            make_ready([environment])
    except KeyboardInterrupt:
        return _failed(InterruptedByUserError("interrupted while the virtual environment was made"), argv)
    except EphemeraError as error:
        return _failed(error, argv)
    seconds = {"EPHEMERA_READY_SECONDS": f"{time.monotonic() - began:.3f}"}
    return _become(environment.command, argv, seconds)


def wants_json(argv: Sequence[str]) -> bool:
    """Return whether the command line asks for one JSON document on stdout."""
    own = list(itertools.takewhile(lambda argument: argument != "--", argv))  # the others are pytest's
    pairs = itertools.pairwise(own)
    return "--output=json" in own or ("--output", "json") in pairs or os.environ.get("EPHEMERA_OUTPUT") == "json"


def _failed(error: EphemeraError, argv: Sequence[str]) -> int:
    print(f"ephemera: {error}", file=sys.stderr)
    if wants_json(argv):
        print(json.dumps(error.document()))
    return error.exit_code


def _stay_with(interpreter: Path | None, project: Path, argv: Sequence[str]) -> None:
    """Continue in ``interpreter`` unless it runs this already: a process that still runs from the old environment would
    find no modules in one of another version of Python."""
    if interpreter is None or interpreter == Path(base_interpreter()).resolve() or _CHOSEN in sys._xoptions:
        return
    os.execv(interpreter, [str(interpreter), "-X", _CHOSEN, str(project / "ephemera"), *argv])  # noqa: S606


def _become(command: Path, argv: Sequence[str], further: dict[str, str]) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(command, [str(command), *argv], {**os.environ, **further})  # noqa: S606  (no shell is what is wanted)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
