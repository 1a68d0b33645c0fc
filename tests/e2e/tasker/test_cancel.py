"""Cancelling: nothing runs afterwards, and what was done is undone."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID, uuid4

import pytest
from pydantic import JsonValue
from tasker_client import ConflictError, NotFoundError, OrchestrationClient, Step, StepStatus, TaskStatus

pytestmark = pytest.mark.timeout(60, func_only=True)

OnceRunning = Callable[[OrchestrationClient, UUID, str], Step]

LINEAR = ("linear_workflow", "mathematical_sequence")


def test_a_task_cancelled_in_the_middle_runs_no_further_step(
    orchestration: OrchestrationClient, once_running: OnceRunning
) -> None:
    sleeping: dict[str, JsonValue] = {"even_number": 6, "simulate": {"step": "square_2", "sleep_seconds": 1}}
    created = orchestration.create_task(*LINEAR, sleeping)
    once_running(orchestration, created.task_uuid, "square_2")

    cancelled = orchestration.cancel(created.task_uuid)
    assert cancelled.status is TaskStatus.CANCELLED
    assert cancelled.completed_at is not None
    assert cancelled.result is None
    assert [step.status for step in cancelled.steps] == [StepStatus.COMPLETED, *[StepStatus.CANCELLED] * 3]
    assert cancelled.completion_percentage == 25.0

    # Once a step that sleeps as long, and began later, is over, the cancelled one would have gone on.
    later = orchestration.create_task(*LINEAR, sleeping)
    assert orchestration.wait_for_completion(later.task_uuid).status is TaskStatus.COMPLETED
    assert orchestration.get_task(created.task_uuid) == cancelled


def test_cancelling_again_changes_nothing(orchestration: OrchestrationClient, once_running: OnceRunning) -> None:
    created = orchestration.create_task(
        *LINEAR, {"even_number": 6, "simulate": {"step": "square_1", "sleep_seconds": 1}}
    )
    once_running(orchestration, created.task_uuid, "square_1")
    first = orchestration.cancel(created.task_uuid)
    assert orchestration.cancel(created.task_uuid) == first


def test_a_cancelled_order_is_refunded_and_its_goods_are_given_back(
    orchestration: OrchestrationClient, once_running: OnceRunning, order: Callable[..., dict[str, JsonValue]]
) -> None:
    simulate: dict[str, JsonValue] = {"step": "ship_order", "sleep_seconds": 2}
    created = orchestration.create_task(
        "order_fulfillment", "business_workflow", order("WIDGET-1", 4, simulate=simulate)
    )
    once_running(orchestration, created.task_uuid, "ship_order")
    (paid,) = orchestration.list_payments(created.task_uuid)
    assert paid.status == "captured"

    undoing = orchestration.cancel(created.task_uuid)
    assert undoing.status is TaskStatus.CANCELLED or undoing.outcome == "cancelled"
    task = orchestration.wait_for_completion(created.task_uuid)
    assert (task.status, task.outcome) == (TaskStatus.CANCELLED, None)
    assert [payment.status for payment in orchestration.list_payments(created.task_uuid)] == ["refunded"]
    assert task.step("release_inventory").result == {"released": [{"sku": "WIDGET-1", "quantity": 4}]}
    assert task.step("ship_order").status is StepStatus.CANCELLED


def test_a_task_that_is_over_cannot_be_cancelled(orchestration: OrchestrationClient) -> None:
    created = orchestration.create_task(*LINEAR, {"even_number": 2})
    done = orchestration.wait_for_completion(created.task_uuid)
    with pytest.raises(ConflictError) as refused:
        orchestration.cancel(created.task_uuid)
    assert (refused.value.status_code, refused.value.code) == (409, "task_finished")
    assert "completed" in refused.value.message
    assert orchestration.get_task(created.task_uuid) == done


def test_a_task_that_is_not_there_cannot_be_cancelled(orchestration: OrchestrationClient) -> None:
    with pytest.raises(NotFoundError):
        orchestration.cancel(uuid4())
