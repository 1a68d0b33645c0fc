"""``status``, ``ls``, ``outputs``, ``logs``, ``open``, ``env``, ``images``: look at environments, change nothing."""

from __future__ import annotations

import os
import shlex
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from ephemera.cli import options
from ephemera.cli.console import Output, Screen, timestamp, write_line
from ephemera.model.errors import InputError, NotReadyError
from ephemera.model.names import split_stack_name
from ephemera.model.outputs import EnvironmentOutputs
from ephemera.model.variables import dotenv_line, export_line

if TYPE_CHECKING:
    from ephemera.docker.logs import LogLine


class OutputsFormat(StrEnum):
    """Form of the outputs: the JSON document, ``export`` lines for a shell, or a dotenv file."""

    json = "json"
    env = "env"
    dotenv = "dotenv"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (status, ls, outputs, logs, env):
        app.command()(command)
    images = typer.Typer(help="List, build, prune and lock images.", no_args_is_help=True)
    images.command("list")(list_images)
    images.command("prune")(prune_images)
    images.command("build")(build_images)
    images.command("lock")(lock_images)
    app.add_typer(images, name="images")
    app.command("open")(open_service)


def status(
    stack: options.StackArgument = None,
    branch: options.BranchOption = None,
    output: options.OutputOption = Output.table,
) -> None:
    """Show every service of an environment: state, health, latency, endpoint. Exit code 3 when a required one is down
    or missing."""
    from ephemera import lifecycle
    from ephemera.cli.tables import status_table
    from ephemera.docker import services
    from ephemera.lifecycle import placement
    from ephemera.pulumi.workspace import Workspace

    screen = Screen(output)
    workspace = Workspace.find()
    name = lifecycle.find_stack(workspace, stack, branch)
    with placement.connected(workspace, name) as client:
        expected = lifecycle.expected(workspace, name)
        required = {service: entry.required for service, entry in workspace.catalog[expected.system].services.items()}
        found = services.statuses(client, expected, required)
    document = {"stack": name, "services": [{**asdict(item), "up": item.up} for item in found]}
    screen.result(document, status_table(found))
    raise typer.Exit(3 if any(item.required and not item.up for item in found) else 0)


def ls(output: options.OutputOption = Output.table) -> None:
    """All your environments, in all checkouts."""
    from ephemera.cli.tables import environments_table
    from ephemera.lifecycle import reaper
    from ephemera.lifecycle.listing import environments
    from ephemera.pulumi.workspace import Workspace

    screen = Screen(output)
    found = environments(Workspace.find())
    reaper.start_if_due()
    times = [{key: timestamp(getattr(item, key)) for key in ("created_at", "expires_at")} for item in found]
    documents = [{**asdict(item), **each} for item, each in zip(found, times, strict=True)]
    screen.result(documents, environments_table(found) if found else "no environment is running")


def outputs(
    stack: options.StackArgument = None,
    branch: options.BranchOption = None,
    output_format: Annotated[OutputsFormat, typer.Option("--format", help="json, env or dotenv.")] = OutputsFormat.json,
    show_secrets: Annotated[bool, typer.Option("--show-secrets", help="Print credentials.")] = False,
    output: options.OutputOption = Output.table,
) -> None:
    """Print the environment's outputs: endpoints, credentials, capabilities."""
    from ephemera import lifecycle
    from ephemera.pulumi.workspace import Workspace

    screen = Screen(output)
    workspace = Workspace.find()
    document = lifecycle.outputs(workspace, lifecycle.find_stack(workspace, stack, branch))
    if output_format is OutputsFormat.json or screen.machine:
        screen.document(document.document(show_secrets=show_secrets))
        return
    written = export_line if output_format is OutputsFormat.env else dotenv_line
    # At once: a value that cannot be written is refused before anything is printed.
    sys.stdout.write("".join(f"{written(*pair)}\n" for pair in document.variables(show_secrets=show_secrets)))
    sys.stdout.flush()


def logs(
    service: Annotated[str | None, typer.Argument(metavar="[SERVICE]", help="Default: all.")] = None,
    stack: options.StackOption = None,
    branch: options.BranchOption = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Follow new lines until Ctrl-C.")] = False,
    tail: Annotated[int | None, typer.Option(min=0, help="Only the last lines.")] = None,
    show_secrets: Annotated[bool, typer.Option("--show-secrets", help="Print credentials.")] = False,
    output: options.OutputOption = Output.table,
) -> None:
    """Print logs of one service, or of all by time. Secrets of the environment are shown as ***."""
    from ephemera import lifecycle
    from ephemera.docker import services
    from ephemera.home import leases
    from ephemera.lifecycle import placement
    from ephemera.model.errors import UnknownNameError
    from ephemera.model.redaction import Redactor
    from ephemera.observe import hiding
    from ephemera.pulumi.workspace import Workspace

    screen = Screen(output)
    workspace = Workspace.find()
    name = lifecycle.find_stack(workspace, stack, branch)
    split_stack_name(name, workspace.catalog)
    with leases.using(name) if follow else nullcontext(), placement.connected(workspace, name) as client:
        found = {item["Labels"].get("ephemera.service", "") for item in services.containers(client, name)}
        if not found or (service is not None and service not in found):
            expected = lifecycle.expected(workspace, name).services
            if names := [each for each in expected if service in (None, each)]:
                raise services.missing(name, names)
            raise UnknownNameError(f"service in {name}", service or "", found)
        redactor = Redactor() if show_secrets else hiding.redactor_for(workspace, name)
        last = dict.fromkeys(sorted(found) if service is None else [service], "")
        lines = _noting(services.log_lines(client, name, service, tail), last)
        kept = lines if tail is None else deque(lines, maxlen=tail)
        hidden = redactor.lines(((of, line), line.text) for of, line in kept)
        if screen.machine:
            screen.document(
                [{"time": line.time.isoformat(), "service": of, "line": text} for (of, line), text in hidden]
            )
            return
        width = max((len(of) for of in found), default=0)

        def show(of: str, text: str) -> None:
            write_line(text if service else f"{of:<{width}} | {text}")

        for (of, _), text in hidden:
            show(of, text)
        if follow:
            from ephemera.cli.following import followed

            for of, line in followed(client, name, last):
                show(of, redactor.text(line.text))


def _noting(lines: Iterable[tuple[str, LogLine]], last: dict[str, str]) -> Iterator[tuple[str, LogLine]]:
    """Yield ``lines``, and keep the time of each service's last one in ``last``."""
    for service, line in lines:
        last[service] = line.stamp
        yield service, line


def env(output: options.OutputOption = Output.table) -> None:
    """Print shell code that makes plain `pulumi` work in this project: eval "$(ephemera env)".

    It unsets variables that would steer Pulumi, such as PULUMI_CONFIG_PASSPHRASE; in JSON, their value is null.
    """
    from ephemera.cli.commands_machine import make_ready
    from ephemera.pulumi.workspace import Workspace

    screen = Screen(output)
    workspace = Workspace.find()
    make_ready(screen)
    variables, unset = workspace.exported(), workspace.unset()
    if screen.machine:
        screen.document({**variables, **dict.fromkeys(unset)})
        return
    path = variables.pop("PATH")
    typer.echo(f'export PATH={shlex.quote(path)}:"$PATH"')
    for name, value in variables.items():
        typer.echo(export_line(name, value))
    for name in unset:
        typer.echo(f"unset {name}")


def list_images(output: options.OutputOption = Output.table) -> None:
    """Images that ephemera built on this Docker engine: size, what uses them, and whether `prune` may drop them."""
    from rich.markup import escape

    from ephemera import images
    from ephemera.cli.tables import Columns

    screen = Screen(output)
    found = images.stored()
    table = Columns("image", "size", "made by", "used by", dispensable=("used by", "made by", "size"))
    for image in found:
        table.add_row(
            escape(image.reference or "(intermediate)"),
            f"{image.size_bytes / 1e6:.0f} MB",
            "you" if image.ours else "another user",
            escape(", ".join(image.used_by)) or "-",
        )
    screen.result([asdict(image) for image in found], table)


def prune_images(output: options.OutputOption = Output.table) -> None:
    """Drop images that you built and no container uses, with their intermediates."""
    from ephemera import images

    screen = Screen(output)
    removed = images.prune()
    screen.result({"removed": [asdict(image) for image in removed]}, f"{len(removed)} images removed")


def build_images(
    system: Annotated[str, typer.Argument(metavar="SYSTEM")], output: options.OutputOption = Output.table
) -> None:
    """Build or pull the images that SYSTEM lacks."""
    from ephemera import images
    from ephemera.cli.commands_machine import make_ready
    from ephemera.model.catalog import find_system
    from ephemera.pulumi.workspace import Workspace

    screen = Screen(output)
    wanted = find_system(Workspace.find().catalog, system).all_images
    make_ready(screen, "docker")
    references = images.ensure(wanted, images.mode(), screen.note)
    if screen.machine:
        screen.document(sorted(references.values()))
    else:
        for reference in sorted(references.values()):
            typer.echo(reference)


def lock_images(output: options.OutputOption = Output.table) -> None:
    """Write images.lock beside Pulumi.yaml: the digest of every image that the project pulls. Asks their registries."""
    from ephemera import images
    from ephemera.pulumi.workspace import Workspace

    screen = Screen(output)
    workspace = Workspace.find()
    used = [image for system in workspace.catalog.values() for image in system.all_images]
    path = images.lock_project(workspace.project, images.pulled(used), screen.note)
    if screen.machine:
        screen.document({"file": str(path)})
    else:
        typer.echo(path)


_SECONDS = 5.0
_MAC = sys.platform == "darwin"


def open_service(
    service: Annotated[str | None, typer.Argument(metavar="[SERVICE]", help="Default: the only one with HTTP.")] = None,
    stack: options.StackOption = None,
    branch: options.BranchOption = None,
    docs: Annotated[bool, typer.Option("--docs", help="Its API docs, at /docs.")] = False,
    output: options.OutputOption = Output.table,
) -> None:
    """Print the address of a service's web pages and, where there is a browser, open it."""
    import webbrowser

    from ephemera import lifecycle
    from ephemera.pulumi.workspace import Workspace

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
