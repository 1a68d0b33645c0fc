"""Tasks: create once, read, list, cancel, and bring to an end."""

import hashlib
import json
from typing import Any
from uuid import UUID

from chassis.database import Connection, Row
from psycopg.types.json import Jsonb

from tasker.workflows.template import Template

STEPS_CHANNEL = "tasker_steps"

_SUMMARY = """
    t.task_uuid, t.namespace, t.name, t.status, t.outcome, t.result, t.error, t.idempotency_key,
    t.created_at, t.updated_at, t.started_at, t.completed_at,
    (SELECT round(100.0 * count(*) FILTER (WHERE s.status = 'completed') / count(*), 1)::float8
       FROM steps s WHERE s.task_uuid = t.task_uuid AND s.kind = 'action') AS completion_percentage
"""

STEP = """
    s.step_uuid, s.name, s.kind, s.status, s.depends_on, s.attempts, s.lost_leases, s.max_attempts, s.worker_id,
    s.run_after, s.lease_expires_at, s.started_at, s.completed_at, s.input, s.result, s.error,
    (SELECT extract(epoch FROM a.ended_at - a.started_at)::float8 * 1000 FROM step_attempts a
      WHERE a.step_uuid = s.step_uuid AND a.attempt = s.attempts) AS duration_ms,
    (SELECT coalesce(jsonb_agg(jsonb_build_object('attempt', a.attempt, 'worker_id', a.worker_id,
            'started_at', a.started_at, 'ended_at', a.ended_at, 'outcome', a.outcome, 'error', a.error)
            ORDER BY a.attempt), '[]') FROM step_attempts a WHERE a.step_uuid = s.step_uuid) AS history
"""


class IdempotencyConflictError(Exception):
    """The key was used before, for another request."""


class TaskFinishedError(Exception):
    """The task has ended, or is about to end, otherwise than by being cancelled."""


async def create(
    connection: Connection, template: Template, context: dict[str, Any], idempotency_key: str | None
) -> tuple[UUID, bool]:
    """The task's id, and whether it was made now. Raises IdempotencyConflictError."""
    digest = hashlib.sha256(_canonical([template.namespace, template.name, context]).encode()).hexdigest()
    made = await (
        await connection.execute(
            """
                INSERT INTO tasks (namespace, name, context, idempotency_key, request_digest)
                VALUES (%s, %s, %s, %s, %s)
                ON CONFLICT (idempotency_key) DO NOTHING RETURNING task_uuid
            """,
            (template.namespace, template.name, Jsonb(context), idempotency_key, digest),
        )
    ).fetchone()
    if made is None:
        first = await (
            await connection.execute(
                "SELECT task_uuid, request_digest FROM tasks WHERE idempotency_key = %s", (idempotency_key,)
            )
        ).fetchone()
        assert first is not None  # noqa: S101  tasks are never deleted, and the conflict was with a committed one
        if first["request_digest"] != digest:
            raise IdempotencyConflictError(
                f"idempotency key {idempotency_key!r} was used for another request, by task {first['task_uuid']}"
            )
        return first["task_uuid"], False

    inputs = {key: value for key, value in context.items() if key != "simulate"}
    async with connection.cursor() as cursor:
        await cursor.executemany(
            """
                INSERT INTO steps (task_uuid, position, namespace, name, kind, handler, compensation, depends_on,
                  status, max_attempts, max_lost_leases, backoff_seconds, run_after, input)
                VALUES (%s, %s, %s, %s, 'action', %s, %s, %s, %s, %s, %s, %s, CASE WHEN %s THEN now() END, %s)
            """,
            [
                (
                    made["task_uuid"],
                    position,
                    template.namespace,
                    step.name,
                    step.handler,
                    step.compensation,
                    list(step.depends_on),
                    "pending" if step.depends_on else "ready",
                    step.max_attempts,
                    step.max_lost_leases,
                    step.backoff_seconds,
                    not step.depends_on,
                    None if step.depends_on else Jsonb(inputs),
                )
                for position, step in enumerate(template.steps)
            ],
        )
    await announce(connection)
    return made["task_uuid"], True


async def get(connection: Connection, task_uuid: UUID) -> Row | None:
    task = await (
        await connection.execute(
            f"SELECT {_SUMMARY}, t.context FROM tasks t WHERE t.task_uuid = %s",  # noqa: S608
            (task_uuid,),
        )
    ).fetchone()
    if task is not None:
        task["steps"] = await (
            await connection.execute(
                f"SELECT {STEP} FROM steps s WHERE s.task_uuid = %s ORDER BY s.position",  # noqa: S608
                (task_uuid,),
            )
        ).fetchall()
    return task


async def page(
    connection: Connection,
    *,
    namespace: str | None,
    name: str | None,
    status: str | None,
    limit: int,
    before: UUID | None,
) -> list[Row]:
    """Newest first: ids sort by time, so the last id of a page is where the next one starts."""
    return await (
        await connection.execute(
            f"""
                SELECT {_SUMMARY} FROM tasks t
                WHERE (%(namespace)s::text IS NULL OR t.namespace = %(namespace)s)
                AND (%(name)s::text IS NULL OR t.name = %(name)s)
                AND (%(status)s::text IS NULL OR t.status = %(status)s)
                AND (%(before)s::uuid IS NULL OR t.task_uuid < %(before)s)
                ORDER BY t.task_uuid DESC LIMIT %(limit)s
            """,  # noqa: S608
            {"namespace": namespace, "name": name, "status": status, "before": before, "limit": limit},
        )
    ).fetchall()


async def cancel(connection: Connection, task_uuid: UUID) -> bool:
    """Whether there is such a task. Raises TaskFinishedError."""
    task = await lock(connection, task_uuid)
    if task is None:
        return False
    if task["status"] in ("completed", "failed"):
        raise TaskFinishedError(f"task {task_uuid} is {task['status']}: it cannot be cancelled any more")
    if task["outcome"] == "failed":
        raise TaskFinishedError(f"task {task_uuid} has failed and is being undone: it cannot be cancelled any more")
    if task["status"] != "cancelled" and task["outcome"] is None:
        await abandon(connection, task_uuid, "cancelled", None)
    return True


async def lock(connection: Connection, task_uuid: UUID) -> Row | None:
    """The task's row, locked: from here to the end of the transaction nobody else moves its steps on."""
    return await (
        await connection.execute(
            "SELECT task_uuid, status, outcome, error FROM tasks WHERE task_uuid = %s FOR UPDATE", (task_uuid,)
        )
    ).fetchone()


async def abandon(connection: Connection, task_uuid: UUID, outcome: str, error: Row | None) -> None:
    """End a locked task early: stop what is open, then undo what was started, latest first. `outcome`: how it ends."""
    await connection.execute(
        """
            WITH stopped AS (
              UPDATE steps SET status = 'cancelled', completed_at = now(), lease_holder = NULL, lease_expires_at = NULL
              WHERE task_uuid = %s AND status IN ('pending', 'ready', 'in_progress')
              RETURNING step_uuid, attempts)
            UPDATE step_attempts a SET outcome = 'cancelled', ended_at = now() FROM stopped
            WHERE a.step_uuid = stopped.step_uuid AND a.attempt = stopped.attempts AND a.ended_at IS NULL
        """,
        (task_uuid,),
    )
    await connection.execute(
        "UPDATE tasks SET outcome = %s, error = %s, updated_at = now() WHERE task_uuid = %s",
        (outcome, None if error is None else Jsonb(error), task_uuid),
    )
    # A started step may have done something even though it did not complete: its compensation finds that out.
    await connection.execute(
        """
            INSERT INTO steps (task_uuid, position, namespace, name, kind, handler, depends_on, status, max_attempts,
            max_lost_leases, backoff_seconds, run_after, input)
            SELECT s.task_uuid, o.last + n.rank, s.namespace, s.compensation, 'compensation', s.compensation,
            CASE WHEN n.before IS NULL THEN '{}' ELSE ARRAY[n.before] END,
            CASE WHEN n.before IS NULL THEN 'ready' ELSE 'pending' END, 10, 20, s.backoff_seconds,
            CASE WHEN n.before IS NULL THEN now() END, jsonb_build_object(s.name, s.result)
            FROM (
              SELECT step_uuid, row_number() OVER latest AS rank, lag(compensation) OVER latest AS before
              FROM steps WHERE task_uuid = %(task)s AND attempts > 0 AND compensation IS NOT NULL
              WINDOW latest AS (ORDER BY position DESC)) n
            JOIN steps s USING (step_uuid), (SELECT max(position) AS last FROM steps WHERE task_uuid = %(task)s) o
        """,
        {"task": task_uuid},
    )
    await settle(connection, task_uuid)
    await announce(connection)


async def settle(connection: Connection, task_uuid: UUID) -> None:
    """Give a locked task its final status once no step is open. Its result: its last step's (of several: by name)."""
    await connection.execute(
        """
            UPDATE tasks SET status = coalesce(outcome, 'completed'), outcome = NULL,
              completed_at = now(), updated_at = now(),
              result = CASE WHEN outcome IS NULL THEN (
                SELECT CASE WHEN count(*) = 1 THEN (array_agg(s.result))[1] ELSE jsonb_object_agg(s.name, s.result) END
                FROM steps s
                WHERE s.task_uuid = tasks.task_uuid AND NOT EXISTS (
                  SELECT FROM steps c WHERE c.task_uuid = s.task_uuid AND s.name = ANY (c.depends_on))) END
            WHERE task_uuid = %s AND NOT EXISTS (
              SELECT FROM steps s
              WHERE s.task_uuid = tasks.task_uuid AND s.status IN ('pending', 'ready', 'in_progress'))
        """,
        (task_uuid,),
    )


async def announce(connection: Connection) -> None:
    """Wake the workers when this transaction commits: there is, or will be, something to claim."""
    await connection.execute(f"NOTIFY {STEPS_CHANNEL}")


async def counts(connection: Connection, table: str) -> dict[str, int]:
    """How many tasks or steps there are in each status."""
    query = {
        "tasks": "SELECT status, count(*) AS count FROM tasks GROUP BY status",
        "steps": "SELECT status, count(*) AS count FROM steps GROUP BY status",
    }[table]
    return {row["status"]: row["count"] for row in await (await connection.execute(query)).fetchall()}


def _canonical(value: object) -> str:
    """The same JSON text for equal values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
