"""The orchestration API."""

from functools import partial
from typing import Annotated, Any
from uuid import UUID

from chassis.app import Api
from chassis.database import GONE, Database
from chassis.errors import ApiError, documented, not_found
from fastapi import Header, Query, Request, Response

from tasker import __version__, metrics
from tasker.orchestration import models
from tasker.orchestration.sweep import sweep
from tasker.settings import OrchestrationSettings
from tasker.store import tasks
from tasker.workflows import contexts, orders, payments
from tasker.workflows.catalog import CATALOG
from tasker.workflows.template import UnknownNamespaceError, UnknownTemplateError

Limit = Annotated[int, Query(ge=1, le=200)]


def create_app(settings: OrchestrationSettings) -> Api:
    """The API, its database, and the sweep beneath it."""
    database = Database(settings.database_url, application="tasker-orchestration", max_connections=10)

    async def count() -> None:
        try:
            async with database.transaction(timeout_seconds=1.0) as connection:
                counts = {table: await tasks.counts(connection, table) for table in metrics.BY_STATUS}
        except GONE:
            # What the process itself counted is there all the same; gauges that are missing say that nobody knows.
            counts = {}
        for table, gauge in metrics.BY_STATUS.items():
            gauge.clear()
            for status, number in counts.get(table, {}).items():
                gauge.labels(status).set(number)

    app = Api(
        "orchestration",
        __version__,
        settings,
        prefix="tasker",
        title="tasker orchestration",
        database=database,
        migrations="tasker",
        work=partial(sweep, database),
        health=models.OrchestrationHealth,
        details=lambda: {"schema_version": app.schema_version, "test_mode": settings.test_mode},
        before_metrics=count,
    )

    @app.post("/v1/tasks", status_code=201, response_model=models.Task, responses=documented(404, 409))
    async def create_task(
        body: models.CreateTask,
        request: Request,
        response: Response,
        idempotency_key: Annotated[models.IdempotencyKey | None, Header()] = None,
    ) -> Any:
        try:
            template = CATALOG.template(body.namespace, body.name)
            contexts.check(template, body.context, test_mode=settings.test_mode)
        except UnknownNamespaceError as error:
            raise ApiError(404, "unknown_namespace", str(error), field="namespace", known=error.known) from None
        except UnknownTemplateError as error:
            raise ApiError(404, "unknown_template", str(error), field="name", known=error.known) from None
        except contexts.InvalidContextError as error:
            raise ApiError(422, "invalid_context", str(error), field=error.field) from None
        if None not in (idempotency_key, body.idempotency_key) and idempotency_key != body.idempotency_key:
            raise ApiError(
                422, "invalid_request", "the header and the body give different keys", field="idempotency_key"
            )
        key = idempotency_key or body.idempotency_key
        async with database.transaction() as connection:
            try:
                task_uuid, new = await tasks.create(connection, template, body.context, key)
            except tasks.IdempotencyConflictError as error:
                raise ApiError(409, "idempotency_conflict", str(error), field="idempotency_key") from None
            task = await tasks.get(connection, task_uuid)
        response.headers["Location"] = str(request.url_for("get_task", task_uuid=task_uuid).path)
        if new:
            metrics.TASKS_CREATED.labels(template.namespace, template.name).inc()
        else:
            response.status_code = 200
            response.headers["Idempotent-Replayed"] = "true"
        return task

    @app.get("/v1/tasks", response_model=models.TaskPage, responses=documented(404))
    async def list_tasks(
        namespace: Annotated[str | None, Query(max_length=100)] = None,
        name: Annotated[str | None, Query(pattern="^[a-z0-9_]{1,100}$")] = None,
        status: models.TaskStatus | None = None,
        limit: Limit = 50,
        cursor: UUID | None = None,
    ) -> Any:
        if namespace is not None:
            _known_namespace(namespace)
        async with database.transaction() as connection:
            found = await tasks.page(
                connection, namespace=namespace, name=name, status=status, limit=limit + 1, before=cursor
            )
        more = len(found) > limit
        return {"tasks": found[:limit], "next_cursor": str(found[limit - 1]["task_uuid"]) if more else None}

    @app.get("/v1/tasks/{task_uuid}", response_model=models.Task, responses=documented(404))
    async def get_task(task_uuid: UUID) -> Any:
        async with database.transaction() as connection:
            task = await tasks.get(connection, task_uuid)
        if task is None:
            raise not_found("task", task_uuid)
        return task

    @app.post("/v1/tasks/{task_uuid}/cancel", response_model=models.Task, responses=documented(404, 409))
    async def cancel_task(task_uuid: UUID) -> Any:
        async with database.transaction() as connection:
            try:
                found = await tasks.cancel(connection, task_uuid)
            except tasks.TaskFinishedError as error:
                raise ApiError(409, "task_finished", str(error)) from None
            if not found:
                raise not_found("task", task_uuid)
            return await tasks.get(connection, task_uuid)

    @app.get("/v1/namespaces", response_model=models.Namespaces)
    async def list_namespaces() -> Any:
        return {
            "namespaces": [
                {"name": namespace, "templates": list(templates)} for namespace, templates in CATALOG.namespaces.items()
            ]
        }

    @app.get("/v1/templates", response_model=models.Templates, responses=documented(404))
    async def list_templates(namespace: Annotated[str | None, Query(max_length=100)] = None) -> Any:
        namespaces = CATALOG.namespaces.values() if namespace is None else [_known_namespace(namespace)]
        return {
            "templates": [
                {
                    "namespace": template.namespace,
                    "name": template.name,
                    "description": template.description,
                    "context_schema": template.context.model_json_schema(),
                    "steps": [vars(step) for step in template.steps],
                }
                for templates in namespaces
                for template in templates.values()
            ]
        }

    @app.get("/v1/inventory", response_model=models.Products)
    async def list_inventory() -> Any:
        async with database.transaction() as connection:
            return {"products": await orders.products(connection)}

    @app.get("/v1/inventory/{sku}", response_model=models.Product, responses=documented(404))
    async def get_inventory(sku: str) -> Any:
        async with database.transaction() as connection:
            found = [product for product in await orders.products(connection) if product["sku"] == sku]
        if not found:
            raise not_found("product", repr(sku))
        return found[0]

    @app.get("/v1/payments", response_model=models.Payments)
    async def list_payments(task_uuid: UUID) -> Any:
        async with database.transaction() as connection:
            return {"payments": await payments.of_task(connection, task_uuid)}

    return app


def _known_namespace(namespace: str) -> Any:
    try:
        return CATALOG.namespace(namespace)
    except UnknownNamespaceError as error:
        raise ApiError(404, "unknown_namespace", str(error), field="namespace", known=error.known) from None
