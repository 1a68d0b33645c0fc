"""``pool``: environments that are up before anybody asks for one."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ephemera.cli import options
from ephemera.cli.commands_machine import make_ready
from ephemera.cli.console import Output, Screen
from ephemera.contract.errors import InputError, LeftoversError, NotReadyError


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
    from ephemera.driver import filling
    from ephemera.driver import pool as pools

    screen = Screen(output)
    given = options.settings_from(config=config, only=only, profile=profile, expose=expose, images=images)
    if size is None:
        if wait or given:
            raise InputError("there is no size to set the pool to", remedy="add --size N")
        _show(screen, [pool for pool in pools.pools() if system in (None, pool.system)])
        return
    if system is None:
        raise InputError("the pool's system is not named", remedy="add --system SYSTEM")
    wanted = _checked(system, size, given)
    if size:
        make_ready(screen)
    pools.write(wanted)
    leftovers: list[str] = []
    if not size:
        leftovers = filling.empty(wanted)
    elif not wait:
        pools.start(wanted)
    elif problem := filling.fill(wanted.name, screen.progress):
        raise NotReadyError(problem, remedy="set the pool anew when that is mended, or to size 0")
    _show(screen, [wanted])
    if leftovers:
        raise LeftoversError(wanted.name, leftovers)


def _checked(system: str, size: int, config: dict[str, str]) -> Any:
    """The pool that is wanted, in this checkout; bad input is refused before anything is written."""
    from ephemera.contract.names import pool_stack_name
    from ephemera.driver import lifecycle
    from ephemera.driver.pool import Pool
    from ephemera.driver.workspace import Workspace
    from ephemera.home.leases import POOL_BRANCH

    workspace = Workspace.find()
    lifecycle.plan(
        workspace,
        lifecycle.Request(
            system=system, branch=POOL_BRANCH, stack=pool_stack_name(system), config=config, phase="pooled"
        ),
    )
    return Pool(system=system, project=workspace.name, checkout=str(workspace.project), size=size, config=config)


def _show(screen: Screen, found: list[Any]) -> None:
    documents = [_document(pool) for pool in found]
    if screen.machine:
        screen.document(documents)
    elif documents:
        from ephemera.cli.tables import pools_table

        screen.table(pools_table(documents))
    else:
        screen.note("there is no pool")


def _document(pool: Any) -> dict[str, Any]:
    from ephemera.driver import pool as pools

    members = pools.members(pool)
    missing = pools.missing(pool)
    return {
        "system": pool.system,
        "checkout": pool.checkout,
        "size": pool.size,
        "ready": [lease.stack for lease in members if pools.free(lease)],
        "coming_up": [lease.stack for lease in members if lease.phase == "creating"],
        "problem": (pools.read(pool.name) or pool).problem if missing else "",
    }
