"""``open``: a service in the browser."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from ephemera.cli import options
from ephemera.cli.console import Output, Screen
from ephemera.contract.errors import InputError, NotReadyError
from ephemera.contract.outputs import EnvironmentOutputs

_SECONDS = 5.0
_MAC = sys.platform == "darwin"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("open")(open_service)


def open_service(
    service: Annotated[str | None, typer.Argument(metavar="[SERVICE]", help="Default: the only one with HTTP.")] = None,
    stack: options.StackOption = None,
    branch: options.BranchOption = None,
    docs: Annotated[bool, typer.Option("--docs", help="Its API docs, at /docs.")] = False,
    output: options.OutputOption = Output.table,
) -> None:
    """Print the address of a service's web pages and, where there is a browser, open it."""
    import webbrowser

    from ephemera.driver import lifecycle
    from ephemera.driver.workspace import Workspace

    screen = Screen(output)
    workspace = Workspace.find()
    outputs = lifecycle.outputs(workspace, lifecycle.find_stack(workspace, stack, branch))
    name, url = _address(outputs, service)
    if docs:
        url = f"{url.rstrip('/')}/docs"
        _check(name, url)
    if screen.machine:
        screen.document({"service": name, "url": url})
        return
    typer.echo(url)
    # Without a display, a browser would be one that takes the terminal.
    if sys.stdout.isatty() and (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or _MAC):
        webbrowser.open(url)


def _address(outputs: EnvironmentOutputs, service: str | None) -> tuple[str, str]:
    web: dict[str, str] = {}
    for name, each in outputs.services.items():
        for endpoint in each.endpoints.values():
            if endpoint.url and endpoint.url.startswith(("http://", "https://")):
                web.setdefault(name, endpoint.url)
    if service is None and len(web) == 1:
        return next(iter(web.items()))
    if service is None:
        which = f"name one: {', '.join(web)}" if web else "see `ephemera outputs`"
        raise InputError(f"{len(web)} services of {outputs.stack} publish HTTP", remedy=which)
    outputs.service(service)
    if service not in web:
        raise InputError(f"service {service!r} of {outputs.stack} publishes no HTTP", remedy="see `ephemera outputs`")
    return service, web[service]


def _check(service: str, url: str) -> None:
    import httpx

    try:
        answer = httpx.get(url, timeout=_SECONDS, trust_env=False, follow_redirects=True)
    except httpx.HTTPError as error:
        raise NotReadyError(f"{service} does not answer at {url}: {error}", remedy="see `ephemera status`") from error
    if answer.is_error:
        raise InputError(f"{service} has no API docs: {url} answers {answer.status_code}", remedy="leave --docs out")
