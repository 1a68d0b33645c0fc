"""Orchestration and workers as processes, and what a test asks of them."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from chassis.testing import Process, new_database, wait_until

LEASE_SECONDS = 1.0
PREFIX = "TASKER_"


class Tasker:
    """Orchestration, and as many workers as a test asks for, on one database."""

    def __init__(self, database_url: str, folder: Path) -> None:
        self.database_url = database_url
        self.folder = folder
        self.processes: list[Process] = []
        self.workers: dict[str, Process] = {}
        self.orchestration = Process(
            "tasker.orchestration",
            folder,
            prefix=PREFIX,
            DATABASE_URL=database_url,
            TASKER_TEST_MODE="1",
            LOG_LEVEL="debug",
        )
        self.http = self.orchestration.http
        self.processes.append(self.orchestration)

    def worker(self, worker_id: str, *, module: str = "tasker.integration_worker", **environ: str) -> Process:
        process = Process(
            module,
            self.folder,
            prefix=PREFIX,
            DATABASE_URL=self.database_url,
            TASKER_ORCHESTRATION_URL=self.orchestration.url,
            TASKER_WORKER_ID=worker_id,
            # So seldom that a test is over before the first look: what is not announced is not found.
            **{
                "TASKER_POLL_SECONDS": "60",
                "TASKER_LEASE_SECONDS": str(LEASE_SECONDS),
                "TASKER_DRAIN_SECONDS": "1",
                **environ,
            },
        )
        self.processes.append(process)
        self.workers[worker_id] = process
        wait_until(process.healthy, f"worker {worker_id} is healthy")
        return process

    def create(self, namespace: str, context: dict[str, Any], **more: Any) -> dict[str, Any]:
        (name,) = self.templates[namespace]
        body = {"namespace": namespace, "name": name, "context": context, **more}
        answer = self.http.post("/v1/tasks", json=body)
        assert answer.is_success, answer.text
        return dict(answer.json())

    @property
    def templates(self) -> dict[str, list[str]]:
        found = self.http.get("/v1/namespaces").json()["namespaces"]
        return {namespace["name"]: namespace["templates"] for namespace in found}

    def get(self, task: dict[str, Any]) -> dict[str, Any]:
        answer = self.http.get(f"/v1/tasks/{task['task_uuid']}")
        assert answer.is_success, answer.text
        return dict(answer.json())

    def ended(self, task: dict[str, Any], *, seconds: float = 30.0) -> dict[str, Any]:
        """The task, once its status is final."""

        def look() -> dict[str, Any] | None:
            with contextlib.suppress(httpx.TransportError):
                answer = self.http.get(f"/v1/tasks/{task['task_uuid']}")
                if answer.status_code == 200 and answer.json()["completed_at"]:
                    return dict(answer.json())
            return None

        return dict(wait_until(look, f"task {task['task_uuid']} ends", seconds=seconds))

    def running(self, task: dict[str, Any], step: str) -> dict[str, Any]:
        """The step, once it runs."""
        return dict(
            wait_until(
                lambda: next(
                    (s for s in self.get(task)["steps"] if (s["name"], s["status"]) == (step, "in_progress")), None
                ),
                f"step {step} runs",
            )
        )

    def stop(self) -> None:
        for process in self.processes:
            process.stop()


def steps(task: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {step["name"]: step for step in task["steps"]}


@contextlib.contextmanager
def new_tasker(server_url: str, folder: Path) -> Iterator[Tasker]:
    with new_database(server_url) as url:
        tasker = Tasker(url, folder)
        try:
            wait_until(tasker.orchestration.healthy, "orchestration is healthy")
            yield tasker
        finally:
            tasker.stop()
