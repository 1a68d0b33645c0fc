"""What every command has: the shared options, before the command or after it, and one way to print."""

from __future__ import annotations

import inspect
import math
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import typer
from pydantic import BaseModel, SecretStr
from rich.console import Console
from rich.table import Table
from rich.text import Text

from olav_client.errors import InvalidInputError
from olav_client.keys import Keyring
from olav_client.remote import Remote, checked_url

RemoteUrl = Annotated[str | None, typer.Option("--remote", help="The server (env: OLAV_REMOTE)", metavar="URL")]
Timeout = Annotated[
    str | None,
    typer.Option("--timeout", help="How long it may be silent (env: OLAV_TIMEOUT_SECONDS; 60)", metavar="SECONDS"),
]
OutputFormat = Annotated[
    str | None, typer.Option("--output", help="Output format (env: OLAV_OUTPUT; text)", metavar="json|text")
]

_SHARED: dict[str, tuple[Any, str]] = {
    "remote": (RemoteUrl, "OLAV_REMOTE"),
    "timeout": (Timeout, "OLAV_TIMEOUT_SECONDS"),
    "output": (OutputFormat, "OLAV_OUTPUT"),
}


@dataclass(frozen=True, kw_only=True)
class Session:
    """One command's run. ``url``: of the server; None: no server, the orchestrator in this process."""

    url: str | None
    timeout_seconds: float
    output: Literal["json", "text"]

    def remote(self, *, needs_token: bool = True) -> Remote:
        """The server, to be closed by who asks; with the token of OLAV_TOKEN or of the last login."""
        if self.url is None:
            raise InvalidInputError("this needs a server: give --remote URL, or set OLAV_REMOTE")
        given = os.environ.get("OLAV_TOKEN")
        token = None
        if needs_token:
            token = SecretStr(given) if given else Keyring().token(self.url)
            if token is None:
                raise InvalidInputError(f"not logged in: olav --remote {self.url} login USERNAME")
        return Remote(self.url, token=token, timeout_seconds=self.timeout_seconds)

    def show(self, document: BaseModel, text: Callable[[], None]) -> None:
        """Print a document as JSON, or what ``text`` prints of it."""
        if self.output == "json":
            print(document.model_dump_json(indent=2))
        else:
            text()


def failed(reason: str, code: int) -> int:
    """Say in one line on stderr why the command failed, and return the exit code."""
    print(f"olav: {' '.join(reason.split())}", file=sys.stderr)
    return code


def print_table(columns: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
    """A table on stdout, as wide as it is where there is no terminal to measure."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        # Text, so that a server's brackets are not taken for markup.
        table.add_row(*(Text("-" if value is None else str(value)) for value in row))
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 160
    console.print(table)


def command(app: typer.Typer, name: str) -> Callable[[Callable[..., int | None]], Callable[..., int | None]]:
    """Register a function of a Session and its own options as a command that takes the shared options too."""

    def register(function: Callable[..., int | None]) -> Callable[..., int | None]:
        def invoke(ctx: typer.Context, **options: Any) -> int | None:
            shared = {key: given if (given := options.pop(key)) is not None else ctx.obj[key] for key in _SHARED}
            try:
                return function(_session(shared), **options)
            except KeyboardInterrupt:
                return failed("interrupted", 130)

        kind = inspect.Parameter.KEYWORD_ONLY
        own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
        parameters = [
            inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context),
            *(parameter.replace(kind=kind) for parameter in own),
            *(inspect.Parameter(key, kind, default=None, annotation=option) for key, (option, _) in _SHARED.items()),
        ]
        # Typer reads a command's options from its signature and its annotations.
        invoke.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        invoke.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        app.command(name, help=function.__doc__)(invoke)
        return function

    return register


def _session(flags: dict[str, str | None]) -> Session:
    chosen = {
        key: flag if (flag := flags[key]) is not None else os.environ.get(variable) or None
        for key, (_, variable) in _SHARED.items()
    }
    try:
        seconds = float(chosen["timeout"] or "60")
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise InvalidInputError(f"--timeout {chosen['timeout']!r} must be a number of seconds, more than 0")
    output = chosen["output"] or "text"
    if output not in ("json", "text"):
        raise InvalidInputError(f"--output {output!r} must be json or text")
    return Session(
        url=None if chosen["remote"] is None else checked_url(chosen["remote"]),
        timeout_seconds=seconds,
        output="json" if output == "json" else "text",
    )
