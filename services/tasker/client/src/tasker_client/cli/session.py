"""What every command has: the shared options, before the command or after it, the clients, and one way to print."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from tasker_client.cli import render
from tasker_client.models import Document
from tasker_client.orchestration import OrchestrationClient
from tasker_client.settings import Settings, load
from tasker_client.worker import WorkerClient

OrchestrationUrl = Annotated[
    str | None, typer.Option(help="Orchestration API (env: TASKER_ORCHESTRATION_URL)", metavar="URL")
]
WorkerUrl = Annotated[str | None, typer.Option(help="Worker API (env: TASKER_WORKER_URL)", metavar="URL")]
Timeout = Annotated[
    str | None,
    typer.Option("--timeout", help="Seconds a request may take (env: TASKER_TIMEOUT_SECONDS)", metavar="SECONDS"),
]
OutputFormat = Annotated[str | None, typer.Option(help="Output format (env: TASKER_OUTPUT)", metavar="json|table")]

_SHARED: dict[str, Any] = {
    "orchestration_url": OrchestrationUrl,
    "worker_url": WorkerUrl,
    "timeout_seconds": Timeout,
    "output": OutputFormat,
}


class Session:
    """One command's run: its settings and clients."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def orchestration(self) -> OrchestrationClient:
        """A client of the orchestration API, to be closed by who asks."""
        return OrchestrationClient(self.settings.orchestration_url, timeout_seconds=self.settings.timeout_seconds)

    def worker(self) -> WorkerClient:
        """A client of the worker API, to be closed by who asks."""
        return WorkerClient(self.settings.worker_url, timeout_seconds=self.settings.timeout_seconds)

    def show(self, document: Document) -> None:
        """Print a document to stdout in the chosen format."""
        render.show(document, self.settings.output)

    def failed(self, reason: str) -> int:
        """Say on stderr why a command whose answer was shown has failed, and return its exit code."""
        return failed(reason, 1)


def failed(reason: str, code: int) -> int:
    """Say in one line on stderr why the command failed, and return the exit code."""
    print(f"tasker-cli: {' '.join(reason.split())}", file=sys.stderr)
    return code


def command(app: typer.Typer, name: str) -> Callable[[Callable[..., int | None]], Callable[..., int | None]]:
    """Register a function of a Session and its own options as a command that takes the shared options too."""

    def register(function: Callable[..., int | None]) -> Callable[..., int | None]:
        def invoke(ctx: typer.Context, **options: Any) -> int | None:
            shared = {key: given if (given := options.pop(key)) is not None else ctx.obj[key] for key in _SHARED}
            try:
                return function(Session(load(shared)), **options)
            except KeyboardInterrupt:
                return failed("interrupted", 130)

        kind = inspect.Parameter.KEYWORD_ONLY
        own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
        parameters = [
            inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context),
            *(parameter.replace(kind=kind) for parameter in own),
            *(inspect.Parameter(key, kind, default=None, annotation=option) for key, option in _SHARED.items()),
        ]
        # Typer reads a command's options from its signature and its annotations.
        invoke.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        invoke.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        app.command(name, help=function.__doc__)(invoke)
        return function

    return register
