"""The orchestration API: tasks, templates, and what the order workflow leaves behind."""

from __future__ import annotations

import time
from collections.abc import Mapping
from uuid import UUID, uuid4

from chassis.client import InvalidInputError, UnavailableError, UnreachableError, segment
from pydantic import JsonValue

from tasker_client.base import TaskerClient
from tasker_client.errors import WaitTimeoutError
from tasker_client.models import (
    Namespace,
    Namespaces,
    Payment,
    Payments,
    Product,
    Task,
    TaskPage,
    TaskStatus,
    Template,
    Templates,
)

_POLL_SECONDS = 0.1


class OrchestrationClient(TaskerClient):
    """Client of the orchestration API. Every method raises the errors of ``chassis.client``."""

    def create_task(
        self, namespace: str, name: str, context: Mapping[str, JsonValue], *, idempotency_key: str | None = None
    ) -> Task:
        """Create a task of the template ``namespace``/``name``.

        ``idempotency_key``: the same key returns the first task again; one of its own is made for each call when it is
        None, so that a retry after a broken connection never creates a second task.
        """
        return self.call(
            Task,
            "POST",
            "/v1/tasks",
            body={"namespace": namespace, "name": name, "context": dict(context)},
            headers={"Idempotency-Key": str(uuid4()) if idempotency_key is None else idempotency_key},
        )

    def get_task(self, task_uuid: UUID | str) -> Task:
        """The task with all its steps."""
        return self.call(Task, "GET", f"/v1/tasks/{segment('task id', task_uuid)}")

    def list_tasks(
        self,
        *,
        namespace: str | None = None,
        name: str | None = None,
        status: TaskStatus | str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> TaskPage:
        """One page of tasks, newest first. ``limit``: 1 to 200 (the server's default is 50)."""
        return self.call(
            TaskPage,
            "GET",
            "/v1/tasks",
            params={"namespace": namespace, "name": name, "status": status, "limit": limit, "cursor": cursor},
        )

    def cancel(self, task_uuid: UUID | str) -> Task:
        """Cancel the task; a task that completed or failed is a ConflictError. May be repeated."""
        return self.call(Task, "POST", f"/v1/tasks/{segment('task id', task_uuid)}/cancel")

    def wait_for_completion(self, task_uuid: UUID | str, timeout: float = 30.0) -> Task:
        """The task once its status is final, whichever it is.

        ``timeout``: seconds; WaitTimeoutError when they are over. Until then a service that cannot be reached or that
        says that it is unavailable is asked again: a restart of the database is no reason to give up.
        """
        if timeout <= 0:
            raise InvalidInputError(f"timeout: {timeout} seconds; must be more than 0")
        path = f"/v1/tasks/{segment('task id', task_uuid)}"
        deadline = time.monotonic() + timeout
        seen: Task | None = None
        trouble: Exception | None = None
        while (left := deadline - time.monotonic()) > 0:
            try:
                seen = self.call(Task, "GET", path, timeout_seconds=min(self.timeout_seconds, left), retries=0)
                trouble = None
            except (UnreachableError, UnavailableError) as error:
                trouble = error
            if trouble is None and seen is not None and seen.status.final:
                return seen
            time.sleep(max(0.0, min(_POLL_SECONDS, deadline - time.monotonic())))
        raise WaitTimeoutError(_unfinished(task_uuid, timeout, seen, trouble), seen) from trouble

    def list_namespaces(self) -> tuple[Namespace, ...]:
        """All namespaces with the names of their templates."""
        return self.call(Namespaces, "GET", "/v1/namespaces").namespaces

    def list_templates(self, *, namespace: str | None = None) -> tuple[Template, ...]:
        """All templates, or those of one namespace."""
        return self.call(Templates, "GET", "/v1/templates", params={"namespace": namespace}).templates

    def get_product(self, sku: str) -> Product:
        """Stock of one product."""
        return self.call(Product, "GET", f"/v1/inventory/{segment('sku', sku)}")

    def list_payments(self, task_uuid: UUID | str) -> tuple[Payment, ...]:
        """What was charged, declined or given back for a task."""
        return self.call(Payments, "GET", "/v1/payments", params={"task_uuid": task_uuid}).payments


def _unfinished(task_uuid: UUID | str, timeout: float, seen: Task | None, trouble: Exception | None) -> str:
    if seen is None:
        state = "it was never seen"
    else:
        steps = ", ".join(f"{step.name}: {step.status}" for step in seen.steps)
        state = f"last seen {seen.status}, {seen.completion_percentage:.1f} % ({steps})"
    asked = f"; the last try to ask failed: {trouble}" if trouble else ""
    return f"task {task_uuid} was not finished within {timeout:g} s: {state}{asked}"
