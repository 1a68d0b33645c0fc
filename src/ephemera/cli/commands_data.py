"""``reset``: an environment's data as it was when the environment became ready."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from ephemera.cli import options
from ephemera.cli.console import Output, Screen


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(reset)


def reset(
    stack: options.StackArgument = None,
    only: Annotated[list[str] | None, typer.Option("--only", help="Reset only this service (repeatable).")] = None,
    remember: Annotated[bool, typer.Option("--remember", help="Save the current data as the reset point.")] = False,
    branch: options.BranchOption = None,
    output: options.OutputOption = Output.table,
) -> None:
    """Bring an environment's data back to the state it had when it became ready; its services keep running."""
    from ephemera.contract.errors import InputError
    from ephemera.driver import lifecycle, resetting
    from ephemera.driver.workspace import Workspace
    from ephemera.home import leases

    if remember and only:
        raise InputError(
            "--remember and --only are both given", remedy="leave --only out: the whole environment is remembered"
        )
    screen = Screen(output)
    workspace = Workspace.find()
    name = lifecycle.find_stack(workspace, stack, branch)
    outputs = lifecycle.outputs(workspace, name)
    with leases.exclusive(name), leases.using(name), resetting.alone(name, wait=False):
        started = time.monotonic()
        done: list[tuple[str, float | None, str]]
        if remember:
            done = [(service, None, "remembered") for service in resetting.remember(workspace, outputs)]
        else:
            done = [(each.service, each.seconds, each.did) for each in resetting.reset(workspace, outputs, only or ())]
        seconds = time.monotonic() - started
    if screen.machine:
        services = [
            {"service": service, "seconds": None if took is None else round(took, 3), "did": did}
            for service, took, did in done
        ]
        screen.document({"stack": name, "seconds": round(seconds, 3), "services": services})
        return
    for service, took, did in done:
        screen.note(f"{service}: {did}" + ("" if took is None else f" ({took * 1000:.0f} ms)"))
    what = "remembered" if remember else "as it was when it became ready"
    screen.note(f"{name} is {what}, {seconds * 1000:.0f} ms" if done else f"{name} has no data to reset")
