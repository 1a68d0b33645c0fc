"""``run``, ``up``, ``down``, ``test``: the life of an environment."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from ephemera.cli import options
from ephemera.cli.commands_machine import make_ready
from ephemera.cli.console import Output, Screen
from ephemera.cli.live import LiveView
from ephemera.cli.timeline_table import Stopwatch, show
from ephemera.model.catalog import find_system
from ephemera.model.errors import (
    EphemeraError,
    InputError,
    LeftoversError,
    NoSuchEnvironmentError,
    NotReadyError,
)
from ephemera.model.names import random_suffix, split_stack_name
from ephemera.model.system import default_system

_PYTEST_ARGUMENTS = typer.Argument(metavar="[-- PYTEST…]", help="Passed on to pytest.")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (up, down):
        app.command()(command)
    app.command(cls=PytestCommand)(run)
    app.command("test", cls=PytestCommand)(run_tests)


def run(
    system: Annotated[str | None, typer.Argument(metavar="[SYSTEM]")] = None,
    pytest_arguments: Annotated[list[str] | None, _PYTEST_ARGUMENTS] = None,
    branch: options.BranchOption = None,
    profile: options.ProfileOption = None,
    only: options.OnlyOption = None,
    expose: options.ExposeOption = None,
    port_table: options.PortTableOption = None,
    images: options.ImagesOption = None,
    config: options.ConfigOption = None,
    keep: options.KeepOption = False,
    keep_on_failure: options.KeepOnFailureOption = False,
    in_network: options.InNetworkOption = False,
    output: options.OutputOption = Output.table,
) -> None:
    """Bring SYSTEM up in a stack of its own, run its suite, take it down, prove that nothing is left."""
    from ephemera import lifecycle
    from ephemera.lifecycle import suite
    from ephemera.pulumi.workspace import Workspace

    screen = Screen(output)
    workspace = Workspace.find()
    system = system or default_system(workspace.project, workspace.catalog)
    if in_network:
        _check_runner(workspace, system)
    request = lifecycle.Request(
        system=system,
        branch=branch,
        suffix=random_suffix(),
        config=options.settings_from(
            config=config, only=only, profile=profile, expose=expose, port_table=port_table, images=images
        ),
        phase="disposable",
        keep_on_failure=keep_on_failure,
    )
    machine_seconds, ready = bring_up(workspace, request, screen)
    stack = ready.outputs.stack
    result: Any = None
    try:
        arguments = pytest_arguments or []
        if not in_network:  # where tests make no environments
            arguments = [*suite.with_settings(request.config), *arguments]
        result = _suite(workspace, system, stack, arguments, screen, in_network=in_network)
    finally:
        kept = result is not None and (keep or (keep_on_failure and result.exit_code != 0))
        if kept:
            lifecycle.let_go(stack)
        else:
            gone = lifecycle.down(workspace, stack, screen.progress)
    document: dict[str, Any] = {
        "system": system,
        "stack": stack,
        "tests": result.document(),
        "seconds": {
            "ready": round(_launcher_seconds() + machine_seconds, 2),
            "up": round(ready.seconds, 2),
            "tests": round(result.seconds, 2),
            "down": None if kept else round(gone.seconds, 2),
        },
        "leftovers": [] if kept else list(gone.leftovers),
        "evidence": str(result.evidence) if result.evidence else None,
        "artifacts": [str(path) for path in result.artifacts],
    }
    _print_summary(screen, document, kept)
    if kept:
        _print_way_in(screen, workspace, stack)
    else:
        _prove(screen, gone)
    raise typer.Exit(1 if result.exit_code else 0)


def up(
    system: Annotated[str | None, typer.Argument(metavar="[SYSTEM]")] = None,
    branch: options.BranchOption = None,
    profile: options.ProfileOption = None,
    only: options.OnlyOption = None,
    expose: options.ExposeOption = None,
    port_table: options.PortTableOption = None,
    images: options.ImagesOption = None,
    config: options.ConfigOption = None,
    keep_on_failure: options.KeepOnFailureOption = False,
    force: Annotated[bool, typer.Option("--force", help="Run Pulumi even if nothing has changed.")] = False,
    timeline: Annotated[
        bool, typer.Option("--timeline", help="Show where the time went, and the critical path.")
    ] = False,
    show_secrets: Annotated[bool, typer.Option("--show-secrets", help="Print credentials.")] = False,
    output: options.OutputOption = Output.table,
) -> None:
    """Create or update this branch's environment of SYSTEM, and wait until it is ready."""
    from ephemera import lifecycle
    from ephemera.pulumi.workspace import Workspace

    screen = Screen(output)
    workspace = Workspace.find()
    request = lifecycle.Request(
        system=system or default_system(workspace.project, workspace.catalog),
        branch=branch,
        config=options.settings_from(
            config=config, only=only, profile=profile, expose=expose, port_table=port_table, images=images
        ),
        keep_on_failure=keep_on_failure,
        force=force,
        timed=timeline,
    )
    stopwatch = Stopwatch()
    _, ready = bring_up(workspace, request, screen, stopwatch)
    document = ready.outputs.document(show_secrets=show_secrets)
    if screen.machine:
        screen.document({**document, "timeline": stopwatch.timeline().document()} if timeline else document)
        return
    from ephemera.cli.tables import outputs_table

    screen.table(outputs_table(ready.outputs, show_secrets=show_secrets))
    how = "unchanged and " if ready.unchanged else "claimed from its pool and " if ready.claimed else ""
    if timeline:
        show(screen, stopwatch.timeline())
    screen.note(f"{ready.outputs.stack} is {how}ready after {ready.seconds:.1f} s")


def down(
    stack: options.StackArgument = None,
    branch: options.BranchOption = None,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Return at once; take it down in the background.")] = False,
    forget: Annotated[
        bool, typer.Option("--forget", help="Only drop its record, if its Docker engine is gone for good.")
    ] = False,
    output: options.OutputOption = Output.table,
) -> None:
    """Destroy an environment, and prove that it is gone."""
    from ephemera import lifecycle
    from ephemera.lifecycle import reaper
    from ephemera.pulumi.workspace import Workspace

    screen = Screen(output)
    workspace = Workspace.find()
    found = lifecycle.find_stack(workspace, stack, branch)
    if forget and no_wait:
        raise InputError("--no-wait and --forget are both given", remedy="forgetting takes no time")
    if forget or no_wait:
        if forget:
            lifecycle.forget(workspace, found)
            told = "is forgotten; what its Docker engine may still hold of it has not been looked at"
        else:
            lifecycle.hand_over(workspace, found)
            told = "is taken down in the background; `ephemera ls` shows it until it is gone"
        if screen.machine:
            screen.document({"stack": found, "seconds": None, "leftovers": None})
        else:
            screen.note(f"{found} {told}")
        return
    gone = lifecycle.down(workspace, found, screen.progress)
    reaper.start_if_due()
    if screen.machine:
        screen.document({"stack": gone.stack, "seconds": round(gone.seconds, 2), "leftovers": list(gone.leftovers)})
    else:
        screen.note(f"{gone.stack} is gone after {gone.seconds:.1f} s")
    _prove(screen, gone)


def run_tests(
    system: options.StackArgument = None,
    pytest_arguments: Annotated[list[str] | None, _PYTEST_ARGUMENTS] = None,
    branch: options.BranchOption = None,
    in_network: options.InNetworkOption = False,
    output: options.OutputOption = Output.table,
) -> None:
    """Run the suite against an environment that is up."""
    from ephemera import lifecycle
    from ephemera.home import leases
    from ephemera.lifecycle import placement
    from ephemera.pulumi.workspace import Workspace

    screen = Screen(output)
    workspace = Workspace.find()
    make_ready(screen)
    stack = lifecycle.find_stack(workspace, system, branch)
    if not workspace.exists(stack):
        raise NoSuchEnvironmentError(stack, lifecycle.alive(workspace))
    name, _ = split_stack_name(stack, workspace.catalog)
    with placement.connected(workspace, stack):
        pass  # before a runner is built, or pytest starts
    if in_network:
        _check_runner(workspace, name)
    with leases.using(stack):
        result = _suite(workspace, name, stack, pytest_arguments or [], screen, in_network=in_network)
    document: dict[str, Any] = {
        "system": name,
        "stack": stack,
        "tests": result.document(),
        "seconds": {"tests": round(result.seconds, 2)},
        "evidence": str(result.evidence) if result.evidence else None,
        "artifacts": [str(path) for path in result.artifacts],
    }
    _print_summary(screen, document, kept=True)
    raise typer.Exit(1 if result.exit_code else 0)


def _suite(workspace: Any, system: str, stack: str, arguments: list[str], screen: Screen, *, in_network: bool) -> Any:
    """Run the suite on either side of the environment's network."""
    from ephemera import in_network as network
    from ephemera import lifecycle
    from ephemera.lifecycle import suite

    declared = find_system(workspace.catalog, system)
    if not in_network:
        return suite.run(workspace, declared, stack, arguments, screen.machine)
    view = LiveView(screen, f"running the suite in {stack}", ())
    outputs = lifecycle.outputs(workspace, stack)
    return network.run(workspace, system, declared, outputs, arguments, screen.machine, view.report)


def _check_runner(workspace: Any, system: str) -> None:
    from ephemera import in_network

    in_network.check(workspace, system, find_system(workspace.catalog, system))


def _prove(screen: Screen, gone: Any) -> None:
    from ephemera import lifecycle

    if gone.leftovers and screen.machine:
        raise typer.Exit(LeftoversError.exit_code)  # the document that was printed names them
    lifecycle.proven(gone)


class PytestCommand(TyperCommand):
    """What comes after ``--`` is pytest's, also where an argument before it was left out."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        at = args.index("--") if "--" in args else len(args)
        rest = super().parse_args(ctx, args[:at])
        ctx.params["pytest_arguments"] = [*(ctx.params["pytest_arguments"] or ()), *args[at + 1 :]]
        return rest


def bring_up(workspace: Any, request: Any, screen: Screen, stopwatch: Stopwatch | None = None) -> tuple[float, Any]:
    """Seconds of making the machine ready, and the environment. Bad input is refused before the one and the other."""
    from ephemera import in_network, lifecycle

    stopwatch = stopwatch or Stopwatch()
    stopwatch.phase("plan")
    stack, system, settings = lifecycle.plan(workspace, request)
    stopwatch.phase("machine")
    machine_seconds = make_ready(screen, system=request.system)
    stopwatch.phase("check")
    view = LiveView(screen, f"bringing up {stack}", system.selected(only=settings.only, profiles=settings.profiles))
    try:
        with view.running():
            in_network.prepare(system, settings, view.report)
            return machine_seconds, lifecycle.up(workspace, request, stopwatch.noting(view.report))
    except NotReadyError:
        if request.keep_on_failure:
            with suppress(EphemeraError):  # what failed is told, whatever comes of this
                _print_way_in(screen, workspace, stack)
        raise


def _print_way_in(screen: Screen, workspace: Any, stack: str) -> None:
    from ephemera.lifecycle.way_in import way_into

    for line in way_into(workspace, stack):
        screen.note(line)


def _launcher_seconds() -> float:
    return float(os.environ.get("EPHEMERA_READY_SECONDS", "0"))


def _print_summary(screen: Screen, document: dict[str, Any], kept: bool) -> None:
    if screen.machine:
        screen.document(document)
        return
    from ephemera.cli.tables import summary_table

    screen.table(summary_table(document, kept))
