"""Entry point of the ``ephemera`` command."""

from __future__ import annotations

import itertools
import signal
import sys
from types import FrameType
from typing import NoReturn

import typer

from ephemera.cli import commands_containers, commands_inspect, commands_lifecycle
from ephemera.cli.console import Output, Screen
from ephemera.contract.errors import EphemeraError, InterruptedByUserError

app = typer.Typer(
    name="ephemera",
    help="A whole application stack per branch, per test run, per night: brought up, tested, taken down, proven gone.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (commands_lifecycle, commands_inspect, commands_containers):
    module.register(app)


def main() -> NoReturn:
    """Run a command; exit codes: 0, 1 tests failed, 2 bad input, 3 not ready, 4 leftovers, 5 machine, 130."""
    signal.signal(signal.SIGTERM, _interrupt)
    screen = Screen(output=Output.json if _wants_json(sys.argv) else Output.table)
    try:
        app(standalone_mode=True)
    except EphemeraError as error:
        screen.error(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        interrupted = InterruptedByUserError("interrupted", remedy="what this command created is gone")
        screen.error(interrupted)
        sys.exit(interrupted.exit_code)
    sys.exit(0)


def _interrupt(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signal module's form
    raise KeyboardInterrupt


def _wants_json(arguments: list[str]) -> bool:
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--output=json" in own or ("--output", "json") in itertools.pairwise(own)


if __name__ == "__main__":
    main()
