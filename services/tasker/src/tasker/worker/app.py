"""The worker API. It answers about every worker: their state is in the database, not in the process."""

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

from chassis.app import Api
from chassis.database import Database, Row
from chassis.errors import ApiError, documented, not_found
from chassis.waiting import unless
from fastapi import Path, Query

from tasker import __version__
from tasker.settings import WorkerSettings
from tasker.steps import StepStatus
from tasker.store import workers
from tasker.worker import models
from tasker.worker.engine import Engine
from tasker.worker.neighbour import wait_for_orchestration
from tasker.workflows.handler import Handler

Name = Annotated[str | None, Query(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9_.-]+$")]
WorkerId = Annotated[str, Path(max_length=63, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]


def create_app(settings: WorkerSettings, handlers: Mapping[str, Handler]) -> Api:
    """The API of a worker, and its engine. `handlers`: what it can run; without any it claims nothing."""
    # An attempt may need two connections (its transaction, the gateway's); the loops and the API need some more.
    database = Database(
        settings.database_url,
        application=f"tasker-worker-{settings.worker_id}",
        max_connections=2 * settings.concurrency + 4,
    )
    engine = Engine(settings, database, handlers)

    async def work(stop: asyncio.Event) -> None:
        await unless(stop, wait_for_orchestration(settings))
        if not stop.is_set():
            await engine.run(stop)

    app = Api(
        "worker",
        __version__,
        settings,
        prefix="tasker",
        title="tasker worker",
        database=database,
        work=work,
        checks={"engine": engine.check},
        health=models.ThisWorkerHealth,
        details=lambda: {
            "worker_id": settings.worker_id,
            "worker_status": engine.status,
            "namespaces": list(settings.namespaces),
            "handlers": len(handlers),
            "running": engine.running(),
        },
        started=lambda: engine.status is not None,
    )

    async def details(worker_id: str) -> Row:
        async with database.transaction() as connection:
            worker = await workers.get(connection, worker_id)
        if worker is None:
            raise not_found("worker", repr(worker_id))
        return worker

    async def steer(worker_id: str, desired: str) -> Row:
        async with database.transaction() as connection:
            try:
                found = await workers.steer(connection, worker_id, desired)
            except workers.WorkerStoppedError as error:
                raise ApiError(409, "worker_stopped", str(error)) from None
        if not found:
            raise not_found("worker", repr(worker_id))
        return await details(worker_id)

    @app.get("/v1/workers", response_model=models.Workers)
    async def list_workers(namespace: Name = None, status: models.WorkerStatus | None = None) -> Any:
        async with database.transaction() as connection:
            found = await workers.everyone(connection, namespace=namespace)
        return {"workers": [worker for worker in found if status in (None, worker["status"])]}

    @app.get("/v1/workers/{worker_id}", response_model=models.WorkerDetails, responses=documented(404))
    async def get_worker(worker_id: WorkerId) -> Any:
        return await details(worker_id)

    @app.get("/v1/workers/{worker_id}/health", response_model=models.WorkerHealth, responses=documented(404))
    async def get_worker_health(worker_id: WorkerId) -> Any:
        worker = await details(worker_id)
        reason = {
            "lost": f"no heartbeat for {worker['heartbeat_age_seconds']:.1f} s",
            "stopped": "its process has stopped",
        }.get(worker["status"])
        return {**worker, "healthy": reason is None, "reason": reason}

    @app.post("/v1/workers/{worker_id}/pause", response_model=models.WorkerDetails, responses=documented(404, 409))
    async def pause_worker(worker_id: WorkerId) -> Any:
        return await steer(worker_id, "paused")

    @app.post("/v1/workers/{worker_id}/resume", response_model=models.WorkerDetails, responses=documented(404, 409))
    async def resume_worker(worker_id: WorkerId) -> Any:
        return await steer(worker_id, "active")

    @app.post("/v1/workers/{worker_id}/drain", response_model=models.WorkerDetails, responses=documented(404, 409))
    async def drain_worker(worker_id: WorkerId) -> Any:
        return await steer(worker_id, "draining")

    @app.get("/v1/steps", response_model=models.StepPage)
    async def list_steps(
        worker: Name = None,
        task_uuid: UUID | None = None,
        namespace: Name = None,
        status: StepStatus | None = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        cursor: UUID | None = None,
    ) -> Any:
        async with database.transaction() as connection:
            found = await workers.page_of_steps(
                connection,
                worker=worker,
                task_uuid=task_uuid,
                namespace=namespace,
                status=status,
                limit=limit + 1,
                before=cursor,
            )
        more = len(found) > limit
        return {"steps": found[:limit], "next_cursor": str(found[limit - 1]["step_uuid"]) if more else None}

    return app
