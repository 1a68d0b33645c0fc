"""``tasker-cli task``: create, get, list, cancel."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from chassis.client import InvalidInputError
from pydantic import JsonValue

from tasker_client.cli.session import Session, cli
from tasker_client.models import TaskStatus

app = cli.group("task", help="Create tasks, look at them, cancel them.")

_TaskId = Annotated[str, typer.Option("--id", help="The task's UUID", metavar="UUID")]


@cli.command("create", app)
def _create(
    session: Session,
    namespace: Annotated[str, typer.Option(help="Namespace of the template")],
    name: Annotated[str, typer.Option(help="Name of the template")],
    context: Annotated[str, typer.Option("--input", help="The task's context, a JSON object", metavar="JSON")],
    idempotency_key: Annotated[str | None, typer.Option(help="Creating again with it gives the first task")] = None,
) -> None:
    """Create a task and show it."""
    parsed = _object(context)
    with session.orchestration() as client:
        session.show(client.create_task(namespace, name, parsed, idempotency_key=idempotency_key))


@cli.command("get", app)
def _get(session: Session, task_uuid: _TaskId) -> None:
    """Show a task with its steps."""
    with session.orchestration() as client:
        session.show(client.get_task(task_uuid))


@cli.command("list", app)
def _list(
    session: Session,
    namespace: Annotated[str | None, typer.Option(help="Only this namespace")] = None,
    status: Annotated[TaskStatus | None, typer.Option(help="Only this status")] = None,
    limit: Annotated[int | None, typer.Option(help="Tasks on a page", min=1, max=200)] = None,
    cursor: Annotated[str | None, typer.Option(help="next_cursor of the page before")] = None,
) -> None:
    """Show tasks, newest first, one page."""
    with session.orchestration() as client:
        session.show(client.list_tasks(namespace=namespace, status=status, limit=limit, cursor=cursor))


@cli.command("cancel", app)
def _cancel(session: Session, task_uuid: _TaskId) -> None:
    """Cancel a task and show what became of it."""
    with session.orchestration() as client:
        session.show(client.cancel(task_uuid))


def _object(text: str) -> dict[str, JsonValue]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise InvalidInputError(f"--input is not JSON: {error}; give one like '{{\"even_number\": 6}}'") from error
    if not isinstance(value, dict):
        raise InvalidInputError(f"--input is not a JSON object: {text[:80]}; give one like '{{\"even_number\": 6}}'")
    return value
