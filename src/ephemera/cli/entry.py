"""The ``ephemera`` command: in a fork of the warm process where it saves time, here otherwise."""

from __future__ import annotations

import sys
from typing import NoReturn

from ephemera.warm import client

# Those that run a program of the user's in the foreground stay in it, where its terminal's signals come.
_HANDED_OVER = {"down", "extend", "ls", "outputs", "pool", "reap", "reset", "status", "up"}


def main() -> NoReturn:
    """Run the command line."""
    if len(sys.argv) > 1 and sys.argv[1] in _HANDED_OVER:
        code = client.handed_over("ephemera.cli.entry:command", sys.argv[1:])
        if code is not None:
            sys.exit(code if code >= 0 else 128 - code)
    client.begin()
    command([])


def command(arguments: list[str]) -> NoReturn:  # noqa: ARG001 - it reads sys.argv, as the library beneath it does
    """What ``ephemera`` is, in whichever process."""
    from ephemera.cli.main import main as run

    run()
