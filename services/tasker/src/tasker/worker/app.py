"""The worker API. It answers about every worker: their state is in the database, not in the process."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import FastAPI, Path, Query, Response
from starlette.responses import JSONResponse

from tasker import __version__
from tasker.api import errors, health
from tasker.api.errors import ApiError, documented, not_found
from tasker.api.health import Check
from tasker.api.observe import Observed, exposition
from tasker.api.steps import StepStatus
from tasker.settings import WorkerSettings
from tasker.store import workers
from tasker.store.database import Row
from tasker.worker import models
from tasker.worker.program import Program

Name = Annotated[str | None, Query(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9_.-]+$")]
WorkerId = Annotated[str, Path(max_length=63, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]


def create_app(settings: WorkerSettings, program: Program) -> FastAPI:
    """The API of the worker that `program` runs."""
    app = FastAPI(title="tasker worker", version=__version__)
    errors.install(app)
    app.add_middleware(Observed, registry=program.registry)
    database = program.database

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

    @app.get("/v1/workers", response_model=models.Workers, responses=documented(422))
    async def list_workers(namespace: Name = None, status: models.WorkerStatus | None = None) -> Any:
        async with database.transaction() as connection:
            found = await workers.everyone(connection, namespace=namespace)
        return {"workers": [worker for worker in found if status in (None, worker["status"])]}

    @app.get("/v1/workers/{worker_id}", response_model=models.WorkerDetails, responses=documented(404, 422))
    async def get_worker(worker_id: WorkerId) -> Any:
        return await details(worker_id)

    @app.get("/v1/workers/{worker_id}/health", response_model=models.WorkerHealth, responses=documented(404, 422))
    async def get_worker_health(worker_id: WorkerId) -> Any:
        worker = await details(worker_id)
        reason = {
            "lost": f"no heartbeat for {worker['heartbeat_age_seconds']:.1f} s",
            "stopped": "its process has stopped",
        }.get(worker["status"])
        return {**worker, "healthy": reason is None, "reason": reason}

    @app.post("/v1/workers/{worker_id}/pause", response_model=models.WorkerDetails, responses=documented(404, 409, 422))
    async def pause_worker(worker_id: WorkerId) -> Any:
        return await steer(worker_id, "paused")

    @app.post(
        "/v1/workers/{worker_id}/resume", response_model=models.WorkerDetails, responses=documented(404, 409, 422)
    )
    async def resume_worker(worker_id: WorkerId) -> Any:
        return await steer(worker_id, "active")

    @app.post("/v1/workers/{worker_id}/drain", response_model=models.WorkerDetails, responses=documented(404, 409, 422))
    async def drain_worker(worker_id: WorkerId) -> Any:
        return await steer(worker_id, "draining")

    @app.get("/v1/steps", response_model=models.StepPage, responses=documented(422))
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

    @app.get("/health", responses={503: {}})
    async def get_health() -> JSONResponse:
        trouble = program.engine.trouble()
        status, document = health.document(
            "worker",
            settings.environment,
            started=program.engine.status is not None,
            checks={
                "database": await health.check_database(database),
                "engine": Check(status="up" if trouble is None else "down", error=trouble),
            },
            worker_id=settings.worker_id,
            worker_status=program.engine.status,
            namespaces=list(settings.namespaces),
            handlers=len(program.handlers),
            running=program.engine.running(),
        )
        return JSONResponse(document, status)

    @app.get("/metrics")
    async def get_metrics() -> Response:
        return exposition(program.registry)

    return app
