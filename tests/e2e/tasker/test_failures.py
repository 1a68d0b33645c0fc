"""Steps that fail: they are tried again, then the task fails with the error kept, and what was done is undone."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from pydantic import JsonValue
from tasker_client import OrchestrationClient, StepStatus, Task, TaskStatus

if TYPE_CHECKING:
    from ephemera.pytest_plugin.environments import RunningEnvironment

pytestmark = pytest.mark.timeout(60, func_only=True)

Order = Callable[..., dict[str, JsonValue]]


def finished(client: OrchestrationClient, namespace: str, name: str, context: dict[str, JsonValue]) -> Task:
    return client.wait_for_completion(client.create_task(namespace, name, context).task_uuid, timeout=30)


def ordered(client: OrchestrationClient, context: dict[str, JsonValue]) -> Task:
    return finished(client, "order_fulfillment", "business_workflow", context)


@pytest.fixture
def reservations(environment: RunningEnvironment) -> Callable[[Task], list[tuple[str, int, str]]]:
    """What the database holds in reserve for a task: (sku, quantity, status)."""

    def read(task: Task) -> list[tuple[str, int, str]]:
        with environment.postgres() as connection:
            return connection.execute(
                "SELECT sku, quantity, status FROM reservations WHERE task_uuid = %s", (task.task_uuid,)
            ).fetchall()

    return read


def test_a_step_that_fails_for_a_while_is_tried_again_until_it_works(orchestration: OrchestrationClient) -> None:
    context: dict[str, JsonValue] = {"even_number": 6, "simulate": {"step": "square_2", "fail_times": 2}}
    task = finished(orchestration, "linear_workflow", "mathematical_sequence", context)
    assert (task.status, task.result) == (TaskStatus.COMPLETED, 6**16)
    step = task.step("square_2")
    assert [attempt.outcome for attempt in step.history] == ["failed", "failed", "completed"]
    assert step.attempts == 3
    assert {other.attempts for other in task.steps if other.name != "square_2"} == {1}


def test_a_step_past_its_limit_fails_the_task_and_the_error_is_kept(orchestration: OrchestrationClient) -> None:
    context: dict[str, JsonValue] = {"even_number": 6, "simulate": {"step": "square_2", "fail_times": 100}}
    task = finished(orchestration, "linear_workflow", "mathematical_sequence", context)
    assert task.status is TaskStatus.FAILED
    assert task.completion_percentage == 25.0
    assert task.result is None
    assert task.completed_at is not None

    step = task.step("square_2")
    assert task.error is not None
    assert (task.error.step, task.error.code, task.error.attempts) == ("square_2", "simulated", step.max_attempts)
    assert step.status is StepStatus.FAILED
    assert step.attempts == step.max_attempts == len(step.history)
    assert {attempt.outcome for attempt in step.history} == {"failed"}
    assert [attempt.error.code for attempt in step.history if attempt.error] == ["simulated"] * step.max_attempts
    last = step.history[-1].error
    assert last == step.error
    assert last is not None
    assert last.message == task.error.message != ""
    for later in ("square_3", "square_4"):
        assert (task.step(later).status, task.step(later).attempts) == (StepStatus.CANCELLED, 0)


def test_the_pause_before_each_further_attempt_grows(orchestration: OrchestrationClient) -> None:
    context: dict[str, JsonValue] = {"even_number": 6, "simulate": {"step": "merge", "fail_times": 2}}
    task = finished(orchestration, "diamond_workflow", "diamond_pattern", context)
    (template,) = orchestration.list_templates(namespace="diamond_workflow")
    (backoff,) = [step.backoff_seconds for step in template.steps if step.name == "merge"]
    history = task.step("merge").history
    pauses = [
        (following.started_at - failed.ended_at).total_seconds()
        for failed, following in pairwise(history)
        if failed.ended_at
    ]
    assert len(pauses) == 2
    # The back-off counts from the start of the transaction that keeps the failure, its end is read at the end.
    assert pauses[0] > 0.8 * backoff
    assert pauses[1] > 0.8 * 2 * backoff


def test_a_declined_card_gives_the_goods_back_and_charges_nothing(
    orchestration: OrchestrationClient, order: Order, reservations: Callable[[Task], list[tuple[str, int, str]]]
) -> None:
    before = orchestration.get_product("GIZMO-1")
    task = ordered(orchestration, order("GIZMO-1", 3, card="tok_declined_0002"))
    assert task.status is TaskStatus.FAILED
    assert task.error is not None
    assert (task.error.step, task.error.code, task.error.attempts) == ("process_payment", "card_declined", 1)

    assert orchestration.get_product("GIZMO-1") == before
    assert reservations(task) == [("GIZMO-1", 3, "released")]
    (payment,) = orchestration.list_payments(task.task_uuid)
    assert (payment.status, payment.authorization_code) == ("declined", None)

    assert task.step("reserve_inventory").status is StepStatus.COMPLETED
    assert (task.step("ship_order").status, task.step("ship_order").attempts) == (StepStatus.CANCELLED, 0)
    undone = [step for step in task.steps if step.kind == "compensation"]
    assert [step.name for step in undone] == ["refund_payment", "release_inventory"]
    assert {step.status for step in undone} == {StepStatus.COMPLETED}


def test_a_gateway_out_of_order_is_tried_again_then_the_goods_are_given_back(
    orchestration: OrchestrationClient, order: Order, reservations: Callable[[Task], list[tuple[str, int, str]]]
) -> None:
    task = ordered(orchestration, order("WIDGET-1", 1, card="tok_gateway_0119"))
    payment = task.step("process_payment")
    assert task.error is not None
    assert (task.status, task.error.code, task.error.attempts) == (
        TaskStatus.FAILED,
        "gateway_error",
        payment.max_attempts,
    )
    assert reservations(task) == [("WIDGET-1", 1, "released")]
    assert {paid.status for paid in orchestration.list_payments(task.task_uuid)} <= {"voided"}


def test_goods_that_are_not_there_fail_the_task_before_anything_is_charged(
    orchestration: OrchestrationClient, order: Order, reservations: Callable[[Task], list[tuple[str, int, str]]]
) -> None:
    task = ordered(orchestration, order("RELIC-1", 1))
    assert task.error is not None
    assert (task.status, task.error.step, task.error.code) == (
        TaskStatus.FAILED,
        "reserve_inventory",
        "insufficient_stock",
    )
    assert "RELIC-1" in task.error.message
    assert reservations(task) == []
    assert orchestration.list_payments(task.task_uuid) == ()


def test_a_product_that_does_not_exist_is_named(orchestration: OrchestrationClient, order: Order) -> None:
    task = ordered(orchestration, order("UNOBTAINIUM", 1))
    assert task.error is not None
    assert (task.status, task.error.code) == (TaskStatus.FAILED, "unknown_product")
    assert "UNOBTAINIUM" in task.error.message


@pytest.mark.parametrize("step", ["process_payment", "ship_order"])
def test_a_repeated_step_never_charges_or_ships_twice(
    environment: RunningEnvironment, orchestration: OrchestrationClient, order: Order, step: str
) -> None:
    # `after`: the step did its work, and its result was lost.
    again: dict[str, JsonValue] = {"step": step, "fail_times": 2, "when": "after"}
    task = ordered(orchestration, order("WIDGET-1", 1, simulate=again))
    assert task.status is TaskStatus.COMPLETED, task.error
    assert task.step(step).attempts == 3
    assert [payment.status for payment in orchestration.list_payments(task.task_uuid)] == ["captured"]
    with environment.postgres() as connection:
        counted = connection.execute(
            "SELECT (SELECT count(*) FROM shipments WHERE task_uuid = %(task)s),"
            " (SELECT sum(quantity) FROM reservations WHERE task_uuid = %(task)s AND status = 'shipped')",
            {"task": task.task_uuid},
        ).fetchone()
    assert counted == (1, 1)
