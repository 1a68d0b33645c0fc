"""What each method asks for and gives back, and the wait."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from conftest import NOW, TASK_UUID, Clock, Documents, Server
from tasker_client import (
    InvalidInputError,
    NotFoundError,
    OrchestrationClient,
    StepStatus,
    TaskStatus,
    WaitTimeoutError,
    WorkerClient,
    WorkerStatus,
)

MakeTask = Callable[..., Documents]


@pytest.fixture
def orchestration(transport: httpx.MockTransport) -> OrchestrationClient:
    return OrchestrationClient("http://orchestration.test", transport=transport)


@pytest.fixture
def worker(transport: httpx.MockTransport) -> WorkerClient:
    return WorkerClient("http://worker.test", transport=transport)


def test_create_sends_namespace_name_context_and_key(
    orchestration: OrchestrationClient, server: Server, task_document: MakeTask
) -> None:
    server.answers(httpx.Response(201, json=task_document()))
    task = orchestration.create_task("linear_workflow", "m", {"even_number": 6}, idempotency_key="mine")
    assert (server.last.method, server.last.url.path) == ("POST", "/v1/tasks")
    assert server.last_body == {"namespace": "linear_workflow", "name": "m", "context": {"even_number": 6}}
    assert server.last.headers["Idempotency-Key"] == "mine"
    step = task.step("square_1")
    assert (step.status, step.attempts, step.lost_leases) == (StepStatus.COMPLETED, 2, 1)
    assert step.history[0].outcome == "lost"


def test_integers_of_any_size_are_exact(
    orchestration: OrchestrationClient, server: Server, task_document: MakeTask
) -> None:
    huge = (10**6) ** 64 + 1
    server.answers(httpx.Response(200, json=task_document(result=huge)))
    task = orchestration.get_task(TASK_UUID)
    assert task.result == huge
    assert task.model_dump(mode="json")["result"] == huge


def test_a_step_that_is_not_there_is_named_with_those_that_are(
    orchestration: OrchestrationClient, server: Server, task_document: MakeTask
) -> None:
    server.answers(httpx.Response(200, json=task_document()))
    with pytest.raises(KeyError, match="no step 'merge', it has square_1"):
        orchestration.get_task(TASK_UUID).step("merge")


def test_list_sends_only_the_filters_that_are_given(
    orchestration: OrchestrationClient, server: Server, task_document: MakeTask
) -> None:
    server.answers(httpx.Response(200, json={"tasks": [task_document()], "next_cursor": "c2"}))
    assert orchestration.list_tasks().next_cursor == "c2"
    assert not server.last.url.params
    page = orchestration.list_tasks(namespace="n", name="t", status=TaskStatus.FAILED, limit=5, cursor="c")
    assert dict(server.last.url.params) == {
        "namespace": "n",
        "name": "t",
        "status": "failed",
        "limit": "5",
        "cursor": "c",
    }
    assert page.tasks[0].status is TaskStatus.COMPLETED


def test_cancel(orchestration: OrchestrationClient, server: Server, task_document: MakeTask) -> None:
    server.answers(httpx.Response(200, json=task_document(status="cancelled")))
    assert orchestration.cancel(TASK_UUID).status is TaskStatus.CANCELLED
    assert (server.last.method, server.last.url.path) == ("POST", f"/v1/tasks/{TASK_UUID}/cancel")


def test_namespaces_templates_stock_and_payments(orchestration: OrchestrationClient, server: Server) -> None:
    server.answers(httpx.Response(200, json={"namespaces": [{"name": "n", "templates": ["t"]}]}))
    assert orchestration.list_namespaces()[0].templates == ("t",)

    step = {"name": "s", "depends_on": [], "max_attempts": 3, "backoff_seconds": 0.5, "compensation": None}
    template = {"namespace": "n", "name": "t", "description": "d", "context_schema": {}, "steps": [step]}
    server.answers(httpx.Response(200, json={"templates": [template]}))
    assert orchestration.list_templates(namespace="n")[0].steps[0].max_attempts == 3
    assert dict(server.last.url.params) == {"namespace": "n"}

    product = {"sku": "A-1", "name": "a", "unit_price_cents": 5, "on_hand": 3, "reserved": 1, "available": 2}
    server.answers(httpx.Response(200, json=product))
    assert orchestration.get_product("A-1").available == 2
    assert server.last.url.path == "/v1/inventory/A-1"

    payment = {
        "payment_uuid": TASK_UUID,
        "task_uuid": TASK_UUID,
        "amount_cents": 5,
        "status": "declined",
        "authorization_code": None,
        "card_last4": "0002",
        "created_at": NOW,
        "updated_at": NOW,
    }
    server.answers(httpx.Response(200, json={"payments": [payment]}))
    assert orchestration.list_payments(TASK_UUID)[0].status == "declined"
    assert dict(server.last.url.params) == {"task_uuid": TASK_UUID}


def test_workers(worker: WorkerClient, server: Server, worker_document: Callable[..., Documents]) -> None:
    server.answers(httpx.Response(200, json={"workers": [worker_document(status="lost")]}))
    assert worker.list_workers(namespace="n", status=WorkerStatus.LOST)[0].status is WorkerStatus.LOST
    assert dict(server.last.url.params) == {"namespace": "n", "status": "lost"}

    running = {
        "step_uuid": TASK_UUID,
        "task_uuid": TASK_UUID,
        "namespace": "n",
        "name": "s",
        "attempt": 1,
        "started_at": NOW,
        "lease_expires_at": NOW,
    }
    server.answers(httpx.Response(200, json=worker_document(running=1, running_steps=[running])))
    assert worker.get_worker_status("w 1").running_steps[0].attempt == 1
    assert server.last.url.raw_path == b"/v1/workers/w%201"


def test_worker_health(worker: WorkerClient, server: Server, worker_health_document: Callable[..., Documents]) -> None:
    server.answers(httpx.Response(200, json=worker_health_document(healthy=False, reason="no heartbeat")))
    assert worker.worker_health("w").reason == "no heartbeat"
    assert server.last.url.path == "/v1/workers/w/health"


@pytest.mark.parametrize("verb", ["pause", "resume", "drain"])
def test_lifecycle(worker: WorkerClient, server: Server, worker_document: Callable[..., Documents], verb: str) -> None:
    server.answers(httpx.Response(200, json=worker_document(status="paused")))
    assert getattr(worker, verb)("w").status is WorkerStatus.PAUSED
    assert (server.last.method, server.last.url.path) == ("POST", f"/v1/workers/w/{verb}")


def test_steps(worker: WorkerClient, server: Server, task_document: MakeTask) -> None:
    step = task_document()["steps"][0] | {"task_uuid": TASK_UUID, "namespace": "n"}
    server.answers(httpx.Response(200, json={"steps": [step], "next_cursor": None}))
    page = worker.list_steps(worker="w", task_uuid=TASK_UUID, namespace="n", status="completed", limit=2, cursor="c")
    assert str(page.steps[0].task_uuid) == TASK_UUID
    assert dict(server.last.url.params) == {
        "worker": "w",
        "task_uuid": TASK_UUID,
        "namespace": "n",
        "status": "completed",
        "limit": "2",
        "cursor": "c",
    }


@pytest.mark.parametrize("final", [TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED])
def test_waiting_ends_with_any_final_status(
    orchestration: OrchestrationClient, server: Server, clock: Clock, task_document: MakeTask, final: TaskStatus
) -> None:
    running = httpx.Response(200, json=task_document(status="in_progress"))
    server.answers(running, running, httpx.Response(200, json=task_document(status=final)))
    assert orchestration.wait_for_completion(TASK_UUID, timeout=5).status is final
    assert clock.pauses == [0.1, 0.1]


def test_waiting_outlives_a_service_that_is_away_for_a_while(
    orchestration: OrchestrationClient, server: Server, clock: Clock, task_document: MakeTask
) -> None:
    away = httpx.Response(503, json={"error": {"code": "unavailable", "message": "no database"}})
    server.answers(httpx.ConnectError("refused"), away, away, httpx.Response(200, json=task_document()))
    assert orchestration.wait_for_completion(TASK_UUID).status is TaskStatus.COMPLETED


def test_waiting_gives_up_at_the_deadline_and_says_what_it_saw(
    orchestration: OrchestrationClient, server: Server, clock: Clock, task_document: MakeTask
) -> None:
    running: dict[str, Any] = task_document(status="in_progress", completion_percentage=25.0)
    server.answers(httpx.Response(200, json=running), httpx.ConnectError("refused"))
    with pytest.raises(WaitTimeoutError) as caught:
        orchestration.wait_for_completion(TASK_UUID, timeout=3)
    assert clock.now == pytest.approx(3)
    assert caught.value.task is not None
    assert caught.value.task.completion_percentage == 25.0
    assert "within 3 s: last seen in_progress, 25.0 % (square_1: completed)" in str(caught.value)
    assert "refused" in str(caught.value)


def test_no_request_of_a_wait_may_outlast_it(
    orchestration: OrchestrationClient, server: Server, clock: Clock, task_document: MakeTask
) -> None:
    pending = httpx.Response(200, json=task_document(status="pending"))
    server.answers(pending, httpx.ConnectError("refused"))
    with pytest.raises(WaitTimeoutError):
        orchestration.wait_for_completion(TASK_UUID, timeout=0.25)
    allowed = [request.extensions["timeout"]["read"] for request in server.requests]
    assert allowed == pytest.approx([0.25, 0.15, 0.05])


def test_waiting_does_not_tolerate_a_task_that_is_not_there(
    orchestration: OrchestrationClient, server: Server, clock: Clock
) -> None:
    server.answers(httpx.Response(404, json={"error": {"code": "not_found", "message": "no such task"}}))
    with pytest.raises(NotFoundError):
        orchestration.wait_for_completion(TASK_UUID)
    assert len(server.requests) == 1


@pytest.mark.parametrize("timeout", [0, -1])
def test_a_wait_without_time_is_refused(orchestration: OrchestrationClient, timeout: float) -> None:
    with pytest.raises(InvalidInputError, match="must be more than 0"):
        orchestration.wait_for_completion(TASK_UUID, timeout=timeout)
