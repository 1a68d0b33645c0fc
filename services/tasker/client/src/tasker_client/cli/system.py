"""``tasker-cli system``: health, info."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, TypeVar

import typer
from chassis.client import Client, ClientError

from tasker_client import __version__
from tasker_client.cli.documents import PartHealth, ServiceInfo, SystemHealth, SystemInfo
from tasker_client.cli.session import Session, cli
from tasker_client.cli.worker import sick_workers
from tasker_client.orchestration import OrchestrationClient

app = cli.group("system", help="The system as a whole.")

C = TypeVar("C", bound=Client)


@cli.command("health", app)
def _health(
    session: Session,
    orchestration: Annotated[bool, typer.Option("--orchestration", help="Only the orchestration API")] = False,
    workers: Annotated[bool, typer.Option("--workers", help="Only the workers")] = False,
) -> int:
    """Show the health of all parts, or of the one asked for; exit code 1 when one is not healthy."""
    everything = orchestration == workers
    parts = []
    if orchestration or everything:
        parts.append(_part("orchestration", session.orchestration(), _sick_orchestration))
    if workers or everything:
        parts.append(_part("workers", session.worker(), lambda client: sick_workers(client)[1]))
    session.show(SystemHealth(healthy=all(part.healthy for part in parts), parts=tuple(parts)))
    sick = [f"{part.part}: {part.reason}" for part in parts if not part.healthy]
    return cli.failed("; ".join(sick)) if sick else 0


@cli.command("info", app)
def _info(session: Session) -> None:
    """Show versions, namespaces and workers."""
    with session.orchestration() as orchestration, session.worker() as worker:
        session.show(
            SystemInfo(
                client_version=__version__,
                orchestration=ServiceInfo(url=orchestration.base_url, health=orchestration.health()),
                worker=ServiceInfo(url=worker.base_url, health=worker.health()),
                namespaces=orchestration.list_namespaces(),
                workers=worker.list_workers(),
            )
        )


def _part(name: str, client: C, reason_of: Callable[[C], str | None]) -> PartHealth:
    # A part that cannot be asked is one that is not healthy; the other is still looked at.
    with client:
        try:
            reason = reason_of(client)
        except ClientError as error:
            reason = str(error)
    return PartHealth(part=name, url=client.base_url, healthy=reason is None, reason=reason)


def _sick_orchestration(client: OrchestrationClient) -> str | None:
    health = client.health()
    if health.healthy:
        return None
    checks = [f"{name} is {check.status}: {check.error}" for name, check in health.checks.items() if check.error]
    return f"{health.status} ({'; '.join(checks)})" if checks else health.status
