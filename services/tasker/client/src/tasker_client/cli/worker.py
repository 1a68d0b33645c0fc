"""``tasker-cli worker``: list, status, health."""

from __future__ import annotations

from typing import Annotated

import typer
from chassis.client import InvalidInputError

from tasker_client.cli.documents import WorkersHealth
from tasker_client.cli.session import Session, cli
from tasker_client.models import Workers, WorkerStatus
from tasker_client.worker import WorkerClient

app = cli.group("worker", help="What the workers are doing.")


@cli.command("list", app)
def _list(
    session: Session, namespace: Annotated[str | None, typer.Option(help="Only workers that serve it")] = None
) -> None:
    """Show the workers."""
    with session.worker() as client:
        session.show(Workers(workers=client.list_workers(namespace=namespace)))


@cli.command("status", app)
def _status(session: Session, worker_id: Annotated[str, typer.Option("--id", help="The worker's id")]) -> None:
    """Show a worker with the steps that it runs."""
    with session.worker() as client:
        session.show(client.get_worker_status(worker_id))


@cli.command("health", app)
def _health(
    session: Session,
    worker_id: Annotated[str | None, typer.Option("--id", help="Of this worker")] = None,
    every: Annotated[bool, typer.Option("--all", help="Of all workers")] = False,
) -> int:
    """Show health: of the worker that answers, of one, or of all; exit code 1 when not healthy."""
    if every and worker_id is not None:
        raise InvalidInputError("--id and --all exclude each other; give one")
    with session.worker() as client:
        if worker_id is not None:
            one = client.worker_health(worker_id)
            session.show(one)
            return 0 if one.healthy else cli.failed(f"worker {worker_id} is not healthy: {one.reason}")
        if every:
            workers, reason = sick_workers(client)
            session.show(workers)
            return cli.failed(reason) if reason else 0
        answering = client.health()
        session.show(answering)
        return 0 if answering.healthy else cli.failed(f"worker {answering.worker_id} is {answering.status}")


def sick_workers(client: WorkerClient) -> tuple[WorkersHealth, str | None]:
    """The health of every worker, and the reason why they are not healthy, None when they are.

    A worker that said goodbye is shown and does not count; that no other is left is a reason.
    """
    found = tuple(client.worker_health(worker.worker_id) for worker in client.list_workers())
    expected = [health for health in found if health.status is not WorkerStatus.STOPPED]
    sick = [f"{health.worker_id} ({health.reason or health.status})" for health in expected if not health.healthy]
    reason = f"not healthy: {', '.join(sick)}" if sick else None if expected else "there is no worker"
    return WorkersHealth(healthy=reason is None, workers=found), reason
