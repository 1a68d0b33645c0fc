"""``exec``, ``shell``, ``restart``: getting into an environment's containers."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import Annotated, Any

import typer

from ephemera.cli import options
from ephemera.cli.console import Output, Screen
from ephemera.contract.errors import MachineError

_SHELLS = ("/bin/bash", "/bin/sh")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("exec", context_settings={"ignore_unknown_options": True})(execute)
    app.command()(shell)
    app.command()(restart)


def execute(
    service: options.ServiceArgument,
    command: Annotated[list[str], typer.Argument(metavar="COMMAND…")],
    stack: options.StackOption = None,
    branch: options.BranchOption = None,
    output: options.OutputOption = Output.table,
) -> None:
    """Run a command in a service's container; its exit code is ours."""
    screen = Screen(output)
    with _handle(service, stack, branch, with_outputs=False) as handle:
        exit_code, text = handle.exec(command)
    if screen.machine:
        screen.document({"service": service, "exit_code": exit_code, "output": text})
    else:
        sys.stdout.write(text)
        sys.stdout.flush()
    raise typer.Exit(exit_code)


def shell(
    service: options.ServiceArgument, stack: options.StackOption = None, branch: options.BranchOption = None
) -> None:
    """Open a shell in a service's container."""
    docker = shutil.which("docker")
    if docker is None:
        raise MachineError("the `docker` command is not there", remedy="install it, or use `ephemera exec`")
    with _handle(service, stack, branch, with_outputs=False) as handle:
        container = handle.container
        available = next((path for path in _SHELLS if handle.exec(["test", "-x", path])[0] == 0), _SHELLS[-1])
        terminal = ["-it"] if sys.stdin.isatty() else ["-i"]
        exit_code = subprocess.run([docker, "exec", *terminal, container, available], check=False).returncode
    raise typer.Exit(exit_code)


def restart(
    service: options.ServiceArgument,
    stack: options.StackOption = None,
    branch: options.BranchOption = None,
    output: options.OutputOption = Output.table,
) -> None:
    """Restart a service and wait until it is ready."""
    import time

    screen = Screen(output)
    started = time.monotonic()
    with _handle(service, stack, branch, with_outputs=True) as handle:
        handle.restart()
        handle.wait_ready()
    seconds = round(time.monotonic() - started, 2)
    if screen.machine:
        screen.document({"service": service, "seconds": seconds})
    else:
        screen.note(f"{service} is ready after {seconds:.1f} s")


def _handle(service: str, stack: str | None, branch: str | None, *, with_outputs: bool) -> Any:
    from contextlib import contextmanager

    from ephemera.contract import labels
    from ephemera.contract.outputs import ServiceOutputs
    from ephemera.driver import lifecycle, services
    from ephemera.driver.services import ServiceHandle
    from ephemera.driver.workspace import Workspace
    from ephemera.home import leases
    from ephemera.host.engine import connected

    @contextmanager
    def opened() -> Any:
        workspace = Workspace.find()
        name = lifecycle.find_stack(workspace, stack, branch)
        # What did not become ready has no outputs, and is just what somebody wants to get into.
        known = (
            lifecycle.outputs(workspace, name).service(service)
            if with_outputs
            else ServiceOutputs(container="", image="")
        )
        with leases.using(name), connected() as client:
            there = {item["Labels"].get(labels.SERVICE) for item in services.containers(client, name)}
            if service not in there and service in lifecycle.expected(workspace, name).services:
                raise services.missing(name, [service])
            yield ServiceHandle(client, name, service, known)

    return opened()
