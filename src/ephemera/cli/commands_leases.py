"""``reap``, ``extend``, ``pool``: environments whose use is over, goes on, or is to come."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ephemera.cli import options
from ephemera.cli.commands_machine import make_ready
from ephemera.cli.console import Output, Screen, timestamp
from ephemera.model.errors import InputError, LeftoversError, NoSuchEnvironmentError, NotReadyError

if TYPE_CHECKING:
    from ephemera.lifecycle.pool import Pool


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (reap, extend):
        app.command()(command)
    app.command()(pool)


def reap(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be reaped, and do nothing.")] = False,
    output: options.OutputOption = Output.table,
) -> None:
    """Take down environments that outlived their owner, or expired unused; fit for a timer."""
    from ephemera.lifecycle import listing, reaper
    from ephemera.pulumi.workspace import Workspace

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
    from ephemera import lifecycle
    from ephemera.cli.tables import span
    from ephemera.home import leases
    from ephemera.lifecycle import listing
    from ephemera.pulumi.workspace import Workspace

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


def pool(
    system: Annotated[str | None, typer.Option("--system", metavar="SYSTEM", help="System of the pool.")] = None,
    size: Annotated[
        int | None, typer.Option("--size", min=0, max=64, help="Keep this many ready; 0 takes down unclaimed ones.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Return when they are ready.")] = False,
    profile: options.ProfileOption = None,
    only: options.OnlyOption = None,
    expose: options.ExposeOption = None,
    images: options.ImagesOption = None,
    config: options.ConfigOption = None,
    output: options.OutputOption = Output.table,
) -> None:
    """Keep environments of SYSTEM ready, for `up`, `run` and pytest to claim; without --size, show every pool."""
    from ephemera import lifecycle
    from ephemera.lifecycle import filling
    from ephemera.lifecycle import pool as pools
    from ephemera.pulumi.workspace import Workspace

    screen = Screen(output)
    given = options.settings_from(config=config, only=only, profile=profile, expose=expose, images=images)
    if size is None:
        if wait or given:
            raise InputError("there is no size to set the pool to", remedy="add --size N")
        _show(screen, [pool for pool in pools.pools() if system in (None, pool.system)])
        return
    if system is None:
        raise InputError("the pool's system is not named", remedy="add --system SYSTEM")
    workspace = Workspace.find()
    lifecycle.plan(workspace, filling.request(system, given))  # refuses bad input before anything is written
    wanted = pools.Pool(system=system, project=workspace.name, checkout=str(workspace.project), size=size, config=given)
    if size:
        make_ready(screen)
    pools.write(wanted)
    leftovers: list[str] = []
    if not size:
        leftovers = filling.empty(wanted)
    elif not wait:
        pools.start(wanted)
    elif problem := filling.fill(wanted.name, screen.progress):
        raise NotReadyError(problem, remedy="fix the cause and run it again, or set the pool to size 0")
    _show(screen, [wanted])
    if leftovers:
        raise LeftoversError(wanted.name, leftovers)


def _show(screen: Screen, found: list[Pool]) -> None:
    from ephemera.cli.tables import pools_table
    from ephemera.lifecycle import pool as pools

    documents = []
    for pool in found:
        members = pools.members(pool)
        documents.append(
            {
                "system": pool.system,
                "checkout": pool.checkout,
                "size": pool.size,
                "ready": [lease.stack for lease in members if pools.free(lease)],
                "coming_up": [lease.stack for lease in members if lease.phase == "creating"],
                "problem": (pools.read(pool.name) or pool).problem if pools.missing(pool) else "",
            }
        )
    if screen.machine:
        screen.document(documents)
    elif documents:
        screen.table(pools_table(documents))
    else:
        screen.note("there is no pool")
