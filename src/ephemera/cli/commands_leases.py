"""``reap``, ``extend``: environments by lease."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from ephemera.cli import options
from ephemera.cli.console import Output, Screen, timestamp
from ephemera.contract.errors import LeftoversError, NoSuchEnvironmentError


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (reap, extend):
        app.command()(command)


def reap(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be reaped, and do nothing.")] = False,
    output: options.OutputOption = Output.table,
) -> None:
    """Take down environments that outlived their owner, or expired unused; fit for a timer."""
    from ephemera.driver import listing, reaper
    from ephemera.driver.workspace import Workspace

    screen = Screen(output)
    listing.environments(Workspace.find())  # those of plain `pulumi up` get a lease when they are first seen
    found: list[dict[str, Any]]
    if dry_run:
        found = [{"stack": lease.stack, "reason": reason} for lease, reason in reaper.due()]
    else:
        found = [asdict(done) for done in reaper.reap()]
    if screen.machine:
        screen.document({"reaped": found, "dry_run": dry_run})
    for item in () if screen.machine else found:
        outcome = "would be reaped" if dry_run else item["problem"] or f"gone after {item['seconds']:.1f} s"
        screen.note(f"{item['stack']}: {item['reason']}; {outcome}")
    if not found and not screen.machine:
        screen.note("nothing to reap")
    raise typer.Exit(LeftoversError.exit_code if any(item.get("problem") for item in found) else 0)


def extend(
    stack: options.StackArgument = None,
    hours: Annotated[float, typer.Option("--hours", min=0.1, max=24 * 30, help="Hours from now.")] = 12.0,
    branch: options.BranchOption = None,
    output: options.OutputOption = Output.table,
) -> None:
    """Let an environment expire later: HOURS from now, unless it would live longer anyway."""
    from ephemera.cli.tables import span
    from ephemera.driver import lifecycle, listing
    from ephemera.driver.workspace import Workspace
    from ephemera.home import leases

    screen = Screen(output)
    workspace = Workspace.find()
    name = lifecycle.find_stack(workspace, stack, branch)
    listed = {item.stack for item in listing.environments(workspace)}
    lease = leases.extend(name, hours * 3600) if name in listed else None
    if lease is None:
        raise NoSuchEnvironmentError(name, listed)
    if screen.machine:
        screen.document({"stack": name, "expires_at": timestamp(lease.expires_at)})
    else:
        screen.note(f"{name} expires in {span(lease.expires_at - lease.used_at)}")
