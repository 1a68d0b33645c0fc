"""How documents look: JSON for machines, tables for people."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import singledispatch

import chassis.cli
from chassis.cli import print_json, table
from chassis.client import Document
from rich.console import Group, RenderableType
from rich.table import Table

from tasker_client.cli.documents import SystemHealth, SystemInfo, WorkersHealth
from tasker_client.models import (
    Health,
    Task,
    TaskPage,
    TaskSummary,
    Worker,
    WorkerDetails,
    WorkerHealth,
    Workers,
)


def show(document: Document, output: str) -> None:
    """Print a document to stdout."""
    if output == "json":
        print_json(document)
    else:
        chassis.cli.show(_tables(document))


@singledispatch
def _tables(document: Document) -> RenderableType:
    return _facts((name, getattr(document, name)) for name in type(document).model_fields)


@_tables.register
def _(document: Task) -> RenderableType:
    facts = [
        ("task", document.task_uuid),
        ("workflow", f"{document.namespace}/{document.name}"),
        ("status", document.status),
        ("completed", f"{document.completion_percentage:.1f} %"),
        ("context", json.dumps(document.context)),
        ("result", json.dumps(document.result)),
        ("created", document.created_at),
        ("finished", document.completed_at),
    ]
    if document.error:
        error = document.error
        facts.append(("error", f"{error.step}: {error.code}: {error.message} ({error.attempts} attempts)"))
    steps = _table(
        ("step", "status", "attempts", "worker", "ms", "result or error"),
        (
            (
                step.name,
                step.status,
                f"{step.attempts}/{step.max_attempts}",
                step.worker_id,
                None if step.duration_ms is None else f"{step.duration_ms:.1f}",
                f"{step.error.code}: {step.error.message}" if step.error else _json_or_none(step.result),
            )
            for step in document.steps
        ),
    )
    return Group(_facts(facts), steps)


@_tables.register
def _(document: TaskPage) -> RenderableType:
    table = _table(("task", "workflow", "status", "completed", "created"), map(_task_row, document.tasks))
    return Group(table, _facts([("next cursor", document.next_cursor)])) if document.next_cursor else table


@_tables.register
def _(document: Workers) -> RenderableType:
    return _workers(document.workers)


@_tables.register
def _(document: WorkerDetails) -> RenderableType:
    running = _table(
        ("task", "step", "attempt", "started", "lease expires"),
        (
            (step.task_uuid, f"{step.namespace}: {step.name}", step.attempt, step.started_at, step.lease_expires_at)
            for step in document.running_steps
        ),
    )
    return Group(_workers([document]), running) if document.running_steps else _workers([document])


@_tables.register
def _(document: WorkerHealth) -> RenderableType:
    return _workers_health([document])


@_tables.register
def _(document: WorkersHealth) -> RenderableType:
    return _workers_health(document.workers)


@_tables.register
def _(document: Health) -> RenderableType:
    return _services([(document.service, None, document)])


@_tables.register
def _(document: SystemHealth) -> RenderableType:
    return _table(
        ("part", "healthy", "url", "reason"),
        ((part.part, part.healthy, part.url, part.reason) for part in document.parts),
    )


@_tables.register
def _(document: SystemInfo) -> RenderableType:
    services = [(info.health.service, info.url, info.health) for info in (document.orchestration, document.worker)]
    namespaces = _table(
        ("namespace", "templates"),
        ((namespace.name, ", ".join(namespace.templates)) for namespace in document.namespaces),
    )
    return Group(
        _facts([("client version", document.client_version)]),
        _services(services),
        namespaces,
        _workers(document.workers),
    )


def _task_row(task: TaskSummary) -> Sequence[object]:
    workflow = f"{task.namespace}/{task.name}"
    return task.task_uuid, workflow, task.status, f"{task.completion_percentage:.1f} %", task.created_at


def _workers(workers: Iterable[Worker]) -> Table:
    return _table(
        ("worker", "status", "running", "namespaces", "last heartbeat"),
        (
            (w.worker_id, w.status, f"{w.running}/{w.concurrency}", ", ".join(w.namespaces), w.last_heartbeat_at)
            for w in workers
        ),
    )


def _workers_health(workers: Iterable[WorkerHealth]) -> Table:
    return _table(
        ("worker", "healthy", "status", "heartbeat age", "reason"),
        ((w.worker_id, w.healthy, w.status, f"{w.heartbeat_age_seconds:.1f} s", w.reason) for w in workers),
    )


def _services(services: Iterable[tuple[str, str | None, Health]]) -> Table:
    return _table(
        ("service", "status", "version", "environment", "checks", "url"),
        (
            (
                service,
                health.status,
                health.version,
                health.environment,
                ", ".join(f"{name}: {check.status}" for name, check in health.checks.items()),
                url,
            )
            for service, url, health in services
        ),
    )


def _facts(facts: Iterable[tuple[str, object]]) -> Table:
    return _table(("", ""), facts, header=False)


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, header: bool = True) -> Table:
    return table(columns, ([_cell(value) for value in row] for row in rows), header=header)


def _cell(value: object) -> object:
    match value:
        case bool():
            return "yes" if value else "no"
        case datetime():
            return value.isoformat(sep=" ", timespec="milliseconds")
        case _:
            return value


def _json_or_none(value: object) -> str | None:
    return None if value is None else json.dumps(value)
