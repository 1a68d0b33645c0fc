"""The worker API: any worker answers for all of them."""

from __future__ import annotations

from uuid import UUID

from chassis.client import segment

from tasker_client.base import TaskerClient
from tasker_client.models import (
    StepPage,
    StepStatus,
    Worker,
    WorkerDetails,
    WorkerHealth,
    Workers,
    WorkerStatus,
)


class WorkerClient(TaskerClient):
    """Client of the worker API. Every method raises the errors of ``chassis.client``."""

    def list_workers(
        self, *, namespace: str | None = None, status: WorkerStatus | str | None = None
    ) -> tuple[Worker, ...]:
        """All workers that were ever seen, or those that serve a namespace."""
        return self.call(Workers, "GET", "/v1/workers", params={"namespace": namespace, "status": status}).workers

    def get_worker_status(self, worker_id: str) -> WorkerDetails:
        """One worker with the steps that it runs at the moment."""
        return self.call(WorkerDetails, "GET", _path(worker_id))

    def worker_health(self, worker_id: str) -> WorkerHealth:
        """Whether a worker's heartbeats arrive."""
        return self.call(WorkerHealth, "GET", f"{_path(worker_id)}/health")

    def list_steps(
        self,
        *,
        worker: str | None = None,
        task_uuid: UUID | str | None = None,
        namespace: str | None = None,
        status: StepStatus | str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> StepPage:
        """One page of steps, newest first. ``limit``: 1 to 200 (the server's default is 50)."""
        return self.call(
            StepPage,
            "GET",
            "/v1/steps",
            params={
                "worker": worker,
                "task_uuid": task_uuid,
                "namespace": namespace,
                "status": status,
                "limit": limit,
                "cursor": cursor,
            },
        )

    def pause(self, worker_id: str) -> Worker:
        """Claim nothing more until ``resume``, over restarts too; what runs goes on."""
        return self.call(Worker, "POST", f"{_path(worker_id)}/pause")

    def resume(self, worker_id: str) -> Worker:
        """Claim work again."""
        return self.call(Worker, "POST", f"{_path(worker_id)}/resume")

    def drain(self, worker_id: str) -> Worker:
        """Claim nothing more until the process starts anew or ``resume``; what runs is finished."""
        return self.call(Worker, "POST", f"{_path(worker_id)}/drain")


def _path(worker_id: str) -> str:
    return f"/v1/workers/{segment('worker id', worker_id)}"
