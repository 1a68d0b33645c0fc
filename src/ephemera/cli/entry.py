"""The ``ephemera`` command: in a fork of the warm process where it saves time, here otherwise."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from ephemera.warm import client

# Those that run a program of the user's in the foreground stay in it, where its terminal's signals come.
_HANDED_OVER = {"down", "extend", "ls", "outputs", "pool", "reap", "reset", "status", "up"}


def main() -> NoReturn:
    """Run the command line."""
    _open_what_is_closed()
    if len(sys.argv) > 1 and sys.argv[1] in _HANDED_OVER:
        code = client.handed_over("ephemera.cli.entry:command", sys.argv[1:])
        if code is not None:
            sys.exit(code if code >= 0 else 128 - code)
    client.begin()
    command([])


def _open_what_is_closed() -> None:
    """Have standard input, output and error, though a shell may have closed them (``>&-``): they lead nowhere then."""
    for number, name in ((0, "stdin"), (1, "stdout"), (2, "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w"))


def command(arguments: list[str]) -> NoReturn:  # noqa: ARG001 - it reads sys.argv, as the library beneath it does
    """What ``ephemera`` is, in whichever process."""
    from ephemera.cli.main import main as run

    run()
