"""Entry point of the ``ephemera`` command."""

from __future__ import annotations

import errno
import itertools
import os
import signal
import sys
import time
import traceback
from contextlib import suppress
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer

from ephemera import __version__
from ephemera.cli import (
    commands_containers,
    commands_dev,
    commands_init,
    commands_inspect,
    commands_leases,
    commands_lifecycle,
    commands_machine,
)
from ephemera.cli.console import Output, Screen
from ephemera.model.errors import (
    EphemeraError,
    InputError,
    Interrupt,
    InterruptedByUserError,
    MachineError,
    UnexpectedError,
)

# Groups of the help, each with what fits into one line of it.
_GROUPS = {
    "Start": {
        "init": "Write a project of your own into this folder.",
    },
    "Daily": {
        "up": "Create or update this branch's environment.",
        "down": "Destroy an environment, and prove it gone.",
        "run": "Bring up a stack of its own, test, take down.",
        "test": "Run the suite against an environment that is up.",
        "dev": "Bring up with sources mounted; reload on save.",
    },
    "Look": {
        "status": "Show services: state, health, endpoint.",
        "ls": "All your environments, in all checkouts.",
        "outputs": "Print endpoints and credentials.",
        "logs": "Print logs of one service, or of all by time.",
        "open": "Open a service's web pages.",
        "exec": "Run a command in a service's container.",
        "shell": "Open a shell in a service's container.",
        "env": "Print shell code for plain `pulumi`.",
    },
    "Data and services": {
        "reset": "Reset data to how it was when ready.",
        "restart": "Restart a service, wait until it is ready.",
        "cp": "Copy files from or to a service's container.",
    },
    "Machine": {
        "setup": "Make this machine ready now.",
        "doctor": "Check every requirement of this machine.",
        "images": "List, build, prune and lock images.",
        "pool": "Keep environments ready to be claimed.",
        "extend": "Let an environment expire later.",
        "reap": "Take down expired environments.",
    },
}
_OUTPUT = (errno.ENOSPC, errno.EDQUOT, errno.EIO)

app = typer.Typer(
    name="ephemera",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


for module in (
    commands_lifecycle,
    commands_dev,
    commands_init,
    commands_inspect,
    commands_containers,
    commands_leases,
    commands_machine,
):
    module.register(app)


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Ephemeral test environments as code: brought up, tested, taken down, proven gone."""


# Made when this is imported: a fork of the warm process finds it done.
_command: Any = typer.main.get_command(app)
for _group, _commands in _GROUPS.items():
    for _name, _line in _commands.items():
        _known = _command.commands.pop(_name)
        _known.rich_help_panel, _known.short_help = _group, _line
        _command.commands[_name] = _known


def main() -> NoReturn:
    """Run a command; exit codes: 0, 1 tests failed, 2 bad input, 3 not ready, 4 leftovers, 5 machine, 70, 130."""
    # Not KeyboardInterrupt: the command line library would answer that one itself.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    screen = Screen(output=Output.json if _wants_json(sys.argv) else Output.table)
    try:
        code = _command(prog_name="ephemera", standalone_mode=False)
        sys.stdout.flush()
    except typer.TyperException as error:
        if type(error).__name__ == "NoArgsIsHelpError" and not screen.machine:  # the help was printed
            sys.exit(InputError.exit_code)
        of = getattr(getattr(error, "ctx", None), "command_path", "ephemera")
        _end(screen, InputError(error.format_message(), remedy=f"see `{of} --help`"))
    except EphemeraError as error:
        _end(screen, error)
    except Interrupt as stop:
        _end(screen, InterruptedByUserError(stop.message, remedy=stop.remedy))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # whoever read has gone: what is left goes nowhere, without a word
        sys.exit(1)
    except OSError as error:
        _end(screen, _of_the_machine(error))
    except Exception as error:  # noqa: BLE001 - a defect, told in one line
        _end(screen, _unexpected(error))
    sys.exit(code)


def _end(screen: Screen, error: EphemeraError) -> NoReturn:
    with suppress(OSError):  # there is nowhere to say it
        screen.error(error)
    sys.exit(error.exit_code)


def _of_the_machine(error: OSError) -> EphemeraError:
    """What the system refuses, on a file whose name says what to mend, or where the output goes."""
    if error.filename is None and error.errno in _OUTPUT:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # else the interpreter would try once more when it ends
        return MachineError(f"the output cannot be written ({error.strerror})", remedy="write it somewhere else")
    if error.filename is None or error.strerror is None:
        return _unexpected(error)
    remedy = "free disk space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "see to it that it can be used"
    return MachineError(f"{error.filename}: {error.strerror}", remedy=f"{remedy}; the traceback is in {_kept(error)}")


def _unexpected(error: Exception) -> EphemeraError:
    said = " ".join(f"{type(error).__name__}: {error}".split())
    return UnexpectedError(said, remedy=f"this is a defect, please report it with {_kept(error)}")


def _kept(error: Exception) -> str:
    """Where its traceback is; where it was raised, when nothing can be written."""
    from ephemera.home.paths import state_dir

    text = "".join(traceback.format_exception(error))
    try:
        path = state_dir() / "logs" / f"error-{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}.log"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    except (OSError, EphemeraError):
        last = traceback.extract_tb(error.__traceback__)[-1]
        return f"line {last.lineno} of {last.filename}, as no file can be written"
    return str(path)


def _interrupt(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signal module's form
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _ignore)  # the clean-up that follows is not to be interrupted
    raise Interrupt(signum, remedy="what this command created is gone")


def _ignore(signum: int, frame: FrameType | None) -> None:
    """Unlike SIG_IGN, not inherited by the programs that the clean-up starts."""


def _wants_json(arguments: list[str]) -> bool:
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    if own[1:2] == ["exec"]:
        own = own[: 2 + commands_containers.count_options(own[2:])]
    given = [value for flag, value in itertools.pairwise(own) if flag == "--output"]
    given += [argument.partition("=")[2] for argument in own if argument.startswith("--output=")]
    return "json" in given if given else os.environ.get("EPHEMERA_OUTPUT") == "json"


if __name__ == "__main__":
    main()
