"""What every command has: the shared options, the server, and one way to print."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from chassis.cli import Cli, Option, print_json, usual_options
from chassis.client import InvalidInputError, checked_url
from pydantic import BaseModel, SecretStr

from olav_client import __version__
from olav_client.keys import Keyring
from olav_client.remote import Remote


@dataclass(frozen=True, kw_only=True)
class Session:
    """One command's run. ``url``: of the server; None: no server, the orchestrator in this process."""

    url: str | None
    timeout_seconds: float
    output: str

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
            print_json(document)
        else:
            text()


cli = Cli(
    "olav",
    prefix="OLAV_",
    options=[
        Option(name="remote", help="The server (env: OLAV_REMOTE)", metavar="URL", parse=checked_url),
        *usual_options("OLAV_", timeout="60", people="text"),
    ],
    session=lambda values: Session(url=values.pop("remote"), **values),
    help="Ask olav: a server with --remote URL, or without it the orchestrator in this process.",
    version=__version__,
)
