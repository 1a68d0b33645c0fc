"""Workers: who is there, what each shall do, and the leases that their heartbeats extend."""

from collections.abc import Collection, Mapping
from uuid import UUID

from chassis.database import Connection, Row

from tasker.store import tasks
from tasker.store.steps import Claimer

WORKERS_CHANNEL = "tasker_workers"

_WORKER = """
    w.worker_id, w.namespaces, w.handlers, w.concurrency, w.host, w.version, w.started_at, r.running,
    w.heartbeat_at AS last_heartbeat_at, extract(epoch FROM now() - w.heartbeat_at)::float8 AS heartbeat_age_seconds,
    CASE WHEN w.stopped_at IS NOT NULL THEN 'stopped'
         WHEN w.heartbeat_at < now() - make_interval(secs => 3 * w.heartbeat_seconds) THEN 'lost'
         WHEN w.desired = 'draining' AND r.running = 0 THEN 'drained'
         ELSE w.desired END AS status
    FROM workers w, LATERAL (SELECT count(*) AS running FROM steps s
                             WHERE s.status = 'in_progress' AND s.lease_holder = w.incarnation) r
"""


class SupersededError(Exception):
    """Another process has registered under this worker's id."""


class WorkerStoppedError(Exception):
    """The worker's process is gone: there is nobody to do what was asked."""


async def register(
    connection: Connection,
    who: Claimer,
    *,
    concurrency: int,
    host: str,
    version: str,
    heartbeat_seconds: float,
) -> None:
    """Take the id. What an earlier process of the same id still holds is free at once: it is dead, or must stop."""
    await connection.execute(
        """
            INSERT INTO workers (worker_id, incarnation, namespaces, handlers, concurrency, host, version,
              heartbeat_seconds)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
            ON CONFLICT (worker_id) DO UPDATE SET incarnation = excluded.incarnation,
              namespaces = excluded.namespaces, handlers = excluded.handlers, concurrency = excluded.concurrency,
              host = excluded.host, version = excluded.version, heartbeat_seconds = excluded.heartbeat_seconds,
              started_at = now(), heartbeat_at = now(), stopped_at = NULL,
              -- A pause is an operator's wish and outlives the process; a drain is how one asks a process to leave.
              desired = CASE workers.desired WHEN 'paused' THEN 'paused' ELSE 'active' END
        """,
        (
            who.worker_id,
            who.incarnation,
            list(who.namespaces),
            list(who.handlers),
            concurrency,
            host,
            version,
            heartbeat_seconds,
        ),
    )
    await connection.execute(
        """
            UPDATE steps SET lease_expires_at = now()
            WHERE status = 'in_progress' AND worker_id = %s AND lease_holder <> %s
        """,
        (who.worker_id, who.incarnation),
    )
    await tasks.announce(connection)


async def heartbeat(connection: Connection, who: Claimer, *, running: Collection[UUID], lease: float) -> str:
    """Extend the leases of the `running` steps; returns what the worker shall do (`active`, `paused`, `draining`).

    Only of those: a claim whose answer was lost on its way is held by a process that does not know it, and must run
    out. Raises SupersededError.
    """
    row = await (
        await connection.execute(
            "UPDATE workers SET heartbeat_at = now() WHERE worker_id = %s AND incarnation = %s RETURNING desired",
            (who.worker_id, who.incarnation),
        )
    ).fetchone()
    if row is None:
        raise SupersededError(
            f"another process has registered as worker {who.worker_id!r}: every worker needs an id of its own"
        )
    await connection.execute(
        # A step that is locked is just being finished or taken away: no lease can help it, and waiting could deadlock.
        """
            UPDATE steps SET lease_expires_at = now() + make_interval(secs => %s)
            WHERE step_uuid IN (
                SELECT step_uuid FROM steps
                WHERE step_uuid = ANY (%s) AND status = 'in_progress' AND lease_holder = %s
                FOR UPDATE SKIP LOCKED)
        """,
        (lease, list(running), who.incarnation),
    )
    desired: str = row["desired"]
    return desired


async def taken_away(connection: Connection, running: Mapping[UUID, int]) -> set[UUID]:
    """Those of the `running` steps (with their attempt) that another worker or a cancelled task has ended."""
    rows = await (
        await connection.execute(
            """
                SELECT a.step_uuid FROM step_attempts a JOIN unnest(%s::uuid[], %s::int[]) AS mine (step_uuid,
                attempt)
                USING (step_uuid, attempt) WHERE a.outcome IN ('lost', 'cancelled')
            """,
            (list(running), list(running.values())),
        )
    ).fetchall()
    return {row["step_uuid"] for row in rows}


async def leave(connection: Connection, who: Claimer) -> None:
    """Say goodbye, and give back at once what is still held."""
    await connection.execute(
        "UPDATE workers SET stopped_at = now(), heartbeat_at = now() WHERE worker_id = %s AND incarnation = %s",
        (who.worker_id, who.incarnation),
    )
    await connection.execute(
        """
            UPDATE steps SET lease_expires_at = now() WHERE status = 'in_progress' AND lease_holder = %s
        """,
        (who.incarnation,),
    )
    await tasks.announce(connection)


async def steer(connection: Connection, worker_id: str, desired: str) -> bool:
    """Make a worker `active`, `paused` or `draining`; whether there is such a worker. Raises WorkerStoppedError."""
    row = await (
        await connection.execute(
            "UPDATE workers SET desired = %s WHERE worker_id = %s RETURNING stopped_at IS NOT NULL AS stopped",
            (desired, worker_id),
        )
    ).fetchone()
    if row is None:
        return False
    if row["stopped"]:
        raise WorkerStoppedError(f"worker {worker_id!r} has stopped")
    await connection.execute(f"NOTIFY {WORKERS_CHANNEL}")
    return True


async def get(connection: Connection, worker_id: str) -> Row | None:
    worker = await (await connection.execute(f"SELECT {_WORKER} WHERE w.worker_id = %s", (worker_id,))).fetchone()
    if worker is not None:
        worker["running_steps"] = await (
            await connection.execute(
                """
                    SELECT s.step_uuid, s.task_uuid, s.namespace, s.name, s.attempts AS attempt, s.started_at,
                    s.lease_expires_at
                    FROM steps s JOIN workers w ON s.lease_holder = w.incarnation
                    WHERE w.worker_id = %s AND s.status = 'in_progress' ORDER BY s.started_at
                """,
                (worker_id,),
            )
        ).fetchall()
    return worker


async def everyone(connection: Connection, *, namespace: str | None) -> list[Row]:
    return await (
        await connection.execute(
            f"""
                SELECT {_WORKER} WHERE (%(namespace)s::text IS NULL OR %(namespace)s = ANY (w.namespaces)) ORDER BY
                w.worker_id
            """,
            {"namespace": namespace},
        )
    ).fetchall()


async def page_of_steps(
    connection: Connection,
    *,
    worker: str | None,
    task_uuid: UUID | None,
    namespace: str | None,
    status: str | None,
    limit: int,
    before: UUID | None,
) -> list[Row]:
    """Newest first, as tasks are paged."""
    return await (
        await connection.execute(
            f"""
                SELECT {tasks.STEP}, s.task_uuid, s.namespace FROM steps s
                WHERE (%(worker)s::text IS NULL OR s.worker_id = %(worker)s)
                AND (%(task_uuid)s::uuid IS NULL OR s.task_uuid = %(task_uuid)s)
                AND (%(namespace)s::text IS NULL OR s.namespace = %(namespace)s)
                AND (%(status)s::text IS NULL OR s.status = %(status)s)
                AND (%(before)s::uuid IS NULL OR s.step_uuid < %(before)s)
                ORDER BY s.step_uuid DESC LIMIT %(limit)s
            """,  # noqa: S608
            {
                "worker": worker,
                "task_uuid": task_uuid,
                "namespace": namespace,
                "status": status,
                "before": before,
                "limit": limit,
            },
        )
    ).fetchall()
