"""``pool``: environments that are up before they are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ephemera.cli import options
from ephemera.cli.commands_machine import make_ready
from ephemera.cli.console import Output, Screen
from ephemera.contract.errors import InputError, LeftoversError, NotReadyError

if TYPE_CHECKING:
    from ephemera.driver.pool import Pool


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(pool)


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
    from ephemera.driver import filling, lifecycle
    from ephemera.driver import pool as pools
    from ephemera.driver.workspace import Workspace

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
    from ephemera.driver import pool as pools

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
