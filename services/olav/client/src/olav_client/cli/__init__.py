"""The command ``olav``.

Exit codes: 0 done; 1 refused by the server, or unhealthy; 2 bad input, nothing was sent; 3 no answer; 130 interrupted.
Every failure is one line on stderr.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from olav_client import __version__
from olav_client.cli import access, questions, users
from olav_client.cli.session import OutputFormat, RemoteUrl, Timeout, failed
from olav_client.errors import InvalidInputError, OlavError, UnreachableError

if TYPE_CHECKING:

    class _UsageError(Exception):
        def format_message(self) -> str: ...
else:
    # Newer releases of typer carry a click of their own, older ones use the published one: the class of either.
    _UsageError = typer.BadParameter.__mro__[1]

app = typer.Typer(
    help="Ask olav: a server with --remote URL, or without it the orchestrator in this process.",
    epilog="Exit codes: 0 done; 1 refused by the server, or unhealthy; 2 bad input; 3 no answer; 130 interrupted.",
    add_completion=False,
    no_args_is_help=True,
)
access.register(app)
questions.register(app)
app.add_typer(users.app, name="users", help="Manage users (admin, with --remote).")


def _version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def _shared(
    ctx: typer.Context,
    remote: RemoteUrl = None,
    timeout: Timeout = None,
    output: OutputFormat = None,
    _show_version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version"),
) -> None:
    ctx.obj = {"remote": remote, "timeout": timeout, "output": output}


def main() -> None:
    """Entry point of the installed command."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    try:
        code = app(list(arguments), prog_name="olav", standalone_mode=False)
    except _UsageError as error:
        message = error.format_message().rstrip(".")
        # Without a command the help was shown, and there is nothing to say.
        return failed(f"{message} (see olav --help)", 2) if message else 2
    except InvalidInputError as error:
        return failed(str(error), 2)
    except UnreachableError as error:
        return failed(str(error), 3)
    except OlavError as error:
        return failed(str(error), 1)
    except typer.Abort:
        return failed("interrupted", 130)
    return int(code or 0)
