"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from ephemera.cli.console import Output
from ephemera.model.runner import IN_NETWORK

OutputOption = Annotated[Output, typer.Option("--output", help="Format of the result.", envvar="EPHEMERA_OUTPUT")]
BranchOption = Annotated[
    str | None, typer.Option("--branch", help="Branch the environment is for.", show_default="the current one")
]
ProfileOption = Annotated[
    list[str] | None, typer.Option("--profile", help="Add the services of a profile (repeatable).")
]
OnlyOption = Annotated[
    list[str] | None, typer.Option("--only", help="Start only this service and those it requires (repeatable).")
]
InNetworkOption = Annotated[
    bool, typer.Option(IN_NETWORK, help="Run the suite in a container, in the environment's network.")
]
ExposeOption = Annotated[str | None, typer.Option("--expose", help="loopback, dynamic, fixed or none.")]
PortTableOption = Annotated[str | None, typer.Option("--port-table", help="Table of fixed ports, with --expose fixed.")]
ImagesOption = Annotated[str | None, typer.Option("--images", help="registry, local or auto.")]
ConfigOption = Annotated[
    list[str] | None, typer.Option("--config", "-c", help="KEY=VALUE of the stack's config (repeatable).")
]
KeepOption = Annotated[bool, typer.Option("--keep", help="Leave the environment running.", envvar="EPHEMERA_KEEP")]
KeepOnFailureOption = Annotated[
    bool,
    typer.Option("--keep-on-failure", help="Leave it running on failure.", envvar="EPHEMERA_KEEP_ON_FAILURE"),
]
StackArgument = Annotated[
    str | None, typer.Argument(metavar="[STACK]", help="A stack, or a system: this branch's. Default: the only one.")
]
StackOption = Annotated[str | None, typer.Option("--stack", "-s", help="A stack, or a system. Default: the only one.")]
ServiceArgument = Annotated[str, typer.Argument(metavar="SERVICE")]


def settings_from(
    *,
    config: list[str] | None,
    only: list[str] | None = None,
    profile: list[str] | None = None,
    expose: str | None = None,
    port_table: str | None = None,
    images: str | None = None,
) -> dict[str, str]:
    """Config values that the flags give, key → text as in Pulumi config."""
    from ephemera.model.settings import from_flags

    return from_flags(
        config=config or (),
        only=only or (),
        profiles=profile or (),
        expose=expose,
        port_table=port_table,
        images=images,
    )
