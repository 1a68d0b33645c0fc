"""The worker API of a system at work: who is there, what runs, and what was run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from tasker_client import (
    NotFoundError,
    OrchestrationClient,
    Step,
    StepStatus,
    WorkerClient,
    WorkerStatus,
)

if TYPE_CHECKING:
    from ephemera.pytest_plugin.environments import RunningEnvironment

pytestmark = pytest.mark.timeout(60, func_only=True)

WORKER = "integration-worker"
NAMESPACES = {
    "linear_workflow",
    "diamond_workflow",
    "tree_workflow",
    "mixed_dag_workflow",
    "order_fulfillment",
}


def test_the_worker_serves_all_namespaces(worker: WorkerClient) -> None:
    listed = {found.worker_id: found for found in worker.list_workers()}
    assert listed[WORKER].status is WorkerStatus.ACTIVE
    assert set(listed[WORKER].namespaces) == NAMESPACES
    assert listed[WORKER].handlers


def test_workers_are_listed_by_namespace(worker: WorkerClient) -> None:
    assert WORKER in {found.worker_id for found in worker.list_workers(namespace="tree_workflow")}
    assert worker.list_workers(namespace="nowhere") == ()


def test_a_running_step_is_seen_with_its_worker_and_its_lease(
    orchestration: OrchestrationClient,
    worker: WorkerClient,
    once_running: Callable[[OrchestrationClient, UUID, str], Step],
) -> None:
    created = orchestration.create_task(
        "linear_workflow",
        "mathematical_sequence",
        {"even_number": 6, "simulate": {"step": "square_1", "sleep_seconds": 1}},
    )
    once_running(orchestration, created.task_uuid, "square_1")
    details = worker.get_worker_status(WORKER)
    (running,) = [step for step in details.running_steps if step.task_uuid == created.task_uuid]
    assert (running.name, running.namespace, running.attempt) == ("square_1", "linear_workflow", 1)
    assert running.lease_expires_at > running.started_at
    assert details.running >= 1

    orchestration.wait_for_completion(created.task_uuid)
    afterwards = worker.get_worker_status(WORKER)
    assert created.task_uuid not in {step.task_uuid for step in afterwards.running_steps}


def test_steps_are_monitored_by_task_worker_and_status(
    orchestration: OrchestrationClient, worker: WorkerClient
) -> None:
    created = orchestration.create_task("linear_workflow", "mathematical_sequence", {"even_number": 6})
    orchestration.wait_for_completion(created.task_uuid)

    page = worker.list_steps(task_uuid=created.task_uuid)
    assert [step.name for step in page.steps] == ["square_4", "square_3", "square_2", "square_1"]
    assert {step.worker_id for step in page.steps} == {WORKER}
    assert page.next_cursor is None

    first = worker.list_steps(task_uuid=created.task_uuid, limit=3)
    rest = worker.list_steps(task_uuid=created.task_uuid, limit=3, cursor=first.next_cursor)
    assert first.steps + rest.steps == page.steps

    of_worker = worker.list_steps(worker=WORKER, namespace="linear_workflow", status=StepStatus.COMPLETED, limit=200)
    assert {step.task_uuid for step in page.steps} <= {step.task_uuid for step in of_worker.steps}
    assert {(step.worker_id, step.namespace, step.status) for step in of_worker.steps} == {
        (WORKER, "linear_workflow", StepStatus.COMPLETED)
    }
    assert worker.list_steps(worker="nobody").steps == ()


def test_heartbeats_make_a_worker_healthy(worker: WorkerClient) -> None:
    health = worker.worker_health(WORKER)
    assert (health.healthy, health.status, health.reason) == (True, WorkerStatus.ACTIVE, None)
    assert 0 <= health.heartbeat_age_seconds < 10


def test_the_worker_says_how_it_is(worker: WorkerClient) -> None:
    health = worker.health()
    assert (health.status, health.service, health.worker_id) == ("healthy", "worker", WORKER)
    assert set(health.checks) == {"database", "engine"}
    assert {check.status for check in health.checks.values()} == {"up"}


@pytest.mark.parametrize("call", ["get_worker_status", "worker_health", "pause", "resume", "drain"])
def test_a_worker_that_is_not_there_is_named(worker: WorkerClient, call: str) -> None:
    with pytest.raises(NotFoundError, match="nobody") as refused:
        getattr(worker, call)("nobody")
    assert refused.value.status_code == 404


def test_metrics_tell_what_was_run(environment: RunningEnvironment, orchestration: OrchestrationClient) -> None:
    created = orchestration.create_task("linear_workflow", "mathematical_sequence", {"even_number": 6})
    orchestration.wait_for_completion(created.task_uuid)
    with environment.http("worker") as http:
        text = http.get("/metrics").text
    assert 'tasker_steps_finished_total{namespace="linear_workflow",outcome="completed",step="square_1"}' in text
    for metric in ("tasker_step_seconds_", "tasker_step_wait_seconds_", "tasker_steps_running "):
        assert metric in text
