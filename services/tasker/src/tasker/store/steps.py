"""Steps: claimed with a lease, finished only by the holder of the attempt, run again when their worker is lost.

An attempt is held by (step, attempt number, incarnation of the worker). Whatever ends it (result, failure, a lease that
ran out and was claimed by another, a cancelled task) changes one of the three or the status, so that a late result
finds no row and is refused.

A lost lease counts as an attempt in the history but not against `max_attempts`: a step is not to blame for its worker's
death. `max_lost_leases` ends a step that kills every worker it meets.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from chassis.database import Connection, Row
from psycopg.types.json import Jsonb

from tasker.store import tasks


class LeaseLostError(Exception):
    """The attempt is not ours any more: nothing of it may be kept."""


@dataclass(frozen=True, kw_only=True)
class Claimer:
    """A worker's process (its incarnation), and what it may run."""

    worker_id: str
    incarnation: UUID
    namespaces: tuple[str, ...]
    handlers: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One attempt of one step, held by one incarnation of one worker."""

    step_uuid: UUID
    task_uuid: UUID
    namespace: str
    name: str
    kind: str
    handler: str
    attempt: int
    lost_leases: int
    max_attempts: int
    backoff_seconds: float
    holder: UUID
    waited_seconds: float
    input: dict[str, Any]
    context: dict[str, Any]

    @property
    def counted_attempt(self) -> int:
        """The attempt's number when lost leases are left out: what `max_attempts` limits."""
        return self.attempt - self.lost_leases


async def claim(connection: Connection, who: Claimer, *, lease: float) -> Claim | None:
    """The step that waits longest, if this worker is active and may run it. One whose lease ran out is taken over."""
    row = await (
        await connection.execute(
            # The share lock makes pause and drain exact: they wait for claims under way, and later claims see them.
            """
                WITH me AS (SELECT FROM workers WHERE worker_id = %(worker)s AND incarnation = %(incarnation)s
                  AND desired = 'active' FOR SHARE),
                candidate AS (SELECT s.step_uuid, s.status, s.attempts, s.run_after FROM steps s, me
                  WHERE s.namespace = ANY (%(namespaces)s) AND s.handler = ANY (%(handlers)s)
                  AND ((s.status = 'ready' AND s.run_after <= now())
                    OR (s.status = 'in_progress' AND s.lease_expires_at <= now()
                      AND s.lost_leases < s.max_lost_leases))
                  ORDER BY s.run_after, s.step_uuid LIMIT 1 FOR UPDATE OF s SKIP LOCKED),
                lost AS (UPDATE step_attempts a SET outcome = 'lost', ended_at = now() FROM candidate c
                  WHERE c.status = 'in_progress' AND a.step_uuid = c.step_uuid AND a.attempt = c.attempts),
                claimed AS (UPDATE steps s SET status = 'in_progress', attempts = s.attempts + 1,
                  lost_leases = s.lost_leases + (c.status = 'in_progress')::int, worker_id = %(worker)s,
                  lease_holder = %(incarnation)s, lease_expires_at = now() + make_interval(secs => %(lease)s),
                  started_at = now() FROM candidate c WHERE s.step_uuid = c.step_uuid RETURNING s.*),
                history AS (INSERT INTO step_attempts (step_uuid, attempt, worker_id)
                  SELECT step_uuid, attempts, worker_id FROM claimed),
                -- Whoever holds the task's row already moves it on, or ends it: waiting for that could be a deadlock.
                started AS (UPDATE tasks SET status = 'in_progress', started_at = now(), updated_at = now()
                  WHERE task_uuid IN (SELECT t.task_uuid FROM tasks t, claimed WHERE t.task_uuid = claimed.task_uuid
                    AND t.status = 'pending' FOR UPDATE OF t SKIP LOCKED))
                SELECT c.*, t.context, extract(epoch FROM now() - c.run_after)::float8 AS waited_seconds
                FROM claimed c JOIN tasks t USING (task_uuid)
            """,
            {
                "worker": who.worker_id,
                "incarnation": who.incarnation,
                "namespaces": list(who.namespaces),
                "handlers": list(who.handlers),
                "lease": lease,
            },
        )
    ).fetchone()
    if row is None:
        return None
    return Claim(
        step_uuid=row["step_uuid"],
        task_uuid=row["task_uuid"],
        namespace=row["namespace"],
        name=row["name"],
        kind=row["kind"],
        handler=row["handler"],
        attempt=row["attempts"],
        lost_leases=row["lost_leases"],
        max_attempts=row["max_attempts"],
        backoff_seconds=row["backoff_seconds"],
        holder=who.incarnation,
        waited_seconds=row["waited_seconds"],
        input=row["input"],
        context=row["context"],
    )


async def next_due(connection: Connection, who: Claimer) -> float | None:
    """Seconds until something becomes claimable by time alone (a back-off or a lease that ends); None: nothing will."""
    row = await (
        await connection.execute(
            """
                SELECT extract(epoch FROM
                  min(CASE s.status WHEN 'ready' THEN s.run_after ELSE s.lease_expires_at END) - now()
                )::float8 AS seconds
                FROM steps s
                JOIN workers w ON w.worker_id = %s AND w.incarnation = %s AND w.desired = 'active'
                WHERE s.namespace = ANY (%s) AND s.handler = ANY (%s)
                AND (s.status = 'ready' OR (s.status = 'in_progress' AND s.lost_leases < s.max_lost_leases))
            """,
            (who.worker_id, who.incarnation, list(who.namespaces), list(who.handlers)),
        )
    ).fetchone()
    return row["seconds"] if row else None


async def outcome(connection: Connection, held: Claim) -> str | None:
    """How the attempt ended; None while it is still ours to finish."""
    row = await (
        await connection.execute(
            "SELECT outcome FROM step_attempts WHERE step_uuid = %s AND attempt = %s", (held.step_uuid, held.attempt)
        )
    ).fetchone()
    return row["outcome"] if row else None


async def complete(connection: Connection, held: Claim, result: object) -> None:
    """Keep the result, and make ready what waited for it. Raises LeaseLostError."""
    await tasks.lock(connection, held.task_uuid)
    await _end(connection, held, "completed", None)
    await connection.execute(
        "UPDATE steps SET status = 'completed', result = %s, completed_at = now(), error = NULL WHERE step_uuid = %s",
        (Jsonb(result), held.step_uuid),
    )
    await _move_on(connection, held.task_uuid)


async def fail(connection: Connection, held: Claim, error: Row, *, retry: bool) -> bool:
    """Keep the error. Whether the step will be tried again: when `retry` and its limit allow; else its task fails.

    Raises LeaseLostError.
    """
    task = await tasks.lock(connection, held.task_uuid)
    await _end(connection, held, "failed", error)
    if retry and held.counted_attempt < held.max_attempts:
        await connection.execute(
            """
                UPDATE steps SET status = 'ready', error = %s, run_after = now() + make_interval(secs => %s)
                WHERE step_uuid = %s
            """,
            (Jsonb(error), held.backoff_seconds * 2 ** (held.counted_attempt - 1), held.step_uuid),
        )
        await tasks.announce(connection)
        return True
    await _fail_for_good(
        connection, task, error, step_uuid=held.step_uuid, name=held.name, kind=held.kind, attempts=held.attempt
    )
    return False


async def fail_abandoned(connection: Connection) -> bool:
    """Fail one step that lost more workers than it may. Whether there was one: then ask again, in a new transaction."""
    candidate = await (
        await connection.execute(
            """
                SELECT step_uuid, task_uuid FROM steps WHERE status = 'in_progress' AND lease_expires_at <= now()
                AND lost_leases >= max_lost_leases ORDER BY lease_expires_at LIMIT 1
            """
        )
    ).fetchone()
    if candidate is None:
        return False
    task = await tasks.lock(connection, candidate["task_uuid"])
    # Asked again under the task's lock: the worker may have come back, or another orchestration may have been first.
    step = await (
        await connection.execute(
            """
                UPDATE steps SET lost_leases = lost_leases + 1, lease_holder = NULL, lease_expires_at = NULL
                WHERE step_uuid = %s AND status = 'in_progress' AND lease_expires_at <= now()
                AND lost_leases >= max_lost_leases RETURNING step_uuid, name, kind, attempts, lost_leases
            """,
            (candidate["step_uuid"],),
        )
    ).fetchone()
    if step is not None:
        error = {
            "code": "worker_lost",
            "message": f"{step.pop('lost_leases')} workers vanished while they ran this step",
        }
        await _end_attempt(connection, step["step_uuid"], step["attempts"], "lost", error)
        await _fail_for_good(connection, task, error, **step)
    return True


async def _end(connection: Connection, held: Claim, how: str, error: Row | None) -> None:
    ours = await (
        await connection.execute(
            """
                UPDATE steps SET lease_holder = NULL, lease_expires_at = NULL WHERE step_uuid = %s
                AND status = 'in_progress' AND attempts = %s AND lease_holder = %s RETURNING step_uuid
            """,
            (held.step_uuid, held.attempt, held.holder),
        )
    ).fetchone()
    if ours is None:
        raise LeaseLostError(f"attempt {held.attempt} of step {held.name} of task {held.task_uuid} is no longer ours")
    await _end_attempt(connection, held.step_uuid, held.attempt, how, error)


async def _end_attempt(connection: Connection, step_uuid: UUID, attempt: int, how: str, error: Row | None) -> None:
    await connection.execute(
        """
            UPDATE step_attempts SET outcome = %s, ended_at = clock_timestamp(), error = %s WHERE step_uuid = %s AND
            attempt = %s
        """,
        (how, None if error is None else Jsonb(error), step_uuid, attempt),
    )


async def _fail_for_good(
    connection: Connection, task: Row | None, error: Row, *, step_uuid: UUID, name: str, kind: str, attempts: int
) -> None:
    await connection.execute(
        "UPDATE steps SET status = 'failed', error = %s, completed_at = now() WHERE step_uuid = %s",
        (Jsonb(error), step_uuid),
    )
    assert task is not None  # noqa: S101  a step has its task by foreign key
    reason = {"step": name, "attempts": attempts, **error}
    if kind == "action":
        await tasks.abandon(connection, task["task_uuid"], "failed", reason)
        return
    # What could not be undone makes even a cancelled task a failed one; the first error stays the one that is told.
    await connection.execute(
        "UPDATE tasks SET outcome = 'failed', error = coalesce(error, %s), updated_at = now() WHERE task_uuid = %s",
        (Jsonb(reason), task["task_uuid"]),
    )
    await _move_on(connection, task["task_uuid"])


async def _move_on(connection: Connection, task_uuid: UUID) -> None:
    """Make ready what waited for a step that has just ended. A failed compensation keeps none of the others waiting."""
    readied = await (
        await connection.execute(
            """
                UPDATE steps c SET status = 'ready', run_after = now(), input = coalesce(c.input, (
                  SELECT jsonb_object_agg(p.name, p.result) FROM steps p
                  WHERE p.task_uuid = c.task_uuid AND p.name = ANY (c.depends_on)))
                WHERE c.task_uuid = %s AND c.status = 'pending' AND NOT EXISTS (
                  SELECT FROM steps p
                  WHERE p.task_uuid = c.task_uuid AND p.name = ANY (c.depends_on) AND p.status <> 'completed'
                  AND NOT (p.kind = 'compensation' AND p.status = 'failed'))
                RETURNING c.step_uuid
            """,
            (task_uuid,),
        )
    ).fetchall()
    await connection.execute("UPDATE tasks SET updated_at = now() WHERE task_uuid = %s", (task_uuid,))
    if readied:
        await tasks.announce(connection)
    else:
        await tasks.settle(connection, task_uuid)
