"""The five workflows: right results, in the order of their graph, every step once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from pydantic import JsonValue
from tasker_client import OrchestrationClient, Task, TaskStatus

if TYPE_CHECKING:
    from ephemera.pytest_plugin.environments import RunningEnvironment

# Only the test itself: the first one may have to wait for the environment, which has deadlines of its own.
pytestmark = pytest.mark.timeout(60, func_only=True)

MATHEMATICS = {
    ("linear_workflow", "mathematical_sequence"): 16,
    ("diamond_workflow", "diamond_pattern"): 16,
    ("tree_workflow", "hierarchical_tree"): 64,
    ("mixed_dag_workflow", "complex_dag"): 64,
}
WITHIN_SECONDS = 30


def completed(client: OrchestrationClient, namespace: str, name: str, context: dict[str, JsonValue]) -> Task:
    created = client.create_task(namespace, name, context)
    assert created.status in (TaskStatus.PENDING, TaskStatus.IN_PROGRESS)
    task = client.wait_for_completion(created.task_uuid, timeout=WITHIN_SECONDS)
    assert task.status is TaskStatus.COMPLETED, task.error
    assert task.completion_percentage == 100.0
    assert task.error is None
    return task


@pytest.mark.parametrize("number", [6, -2, 0, 10**6, -(10**6)])
@pytest.mark.parametrize("workflow", MATHEMATICS, ids=lambda workflow: workflow[0])
def test_a_mathematical_workflow_completes_with_the_exact_integer(
    orchestration: OrchestrationClient, workflow: tuple[str, str], number: int
) -> None:
    task = completed(orchestration, *workflow, {"even_number": number})
    assert type(task.result) is int
    assert task.result == number ** MATHEMATICS[workflow]
    assert task.context == {"even_number": number}


def test_the_number_that_the_page_names(orchestration: OrchestrationClient) -> None:
    task = completed(orchestration, "linear_workflow", "mathematical_sequence", {"even_number": 6})
    assert task.result == 2821109907456
    assert [step.result for step in task.steps] == [6**2, 6**4, 6**8, 6**16]


def test_an_order_is_validated_reserved_paid_and_shipped(
    environment: RunningEnvironment, orchestration: OrchestrationClient, order: Callable[..., dict[str, JsonValue]]
) -> None:
    before = orchestration.get_product("GADGET-1")
    context = order("GADGET-1", 2)
    task = completed(orchestration, "order_fulfillment", "business_workflow", context)
    assert [step.name for step in task.steps] == [
        "validate_order",
        "reserve_inventory",
        "process_payment",
        "ship_order",
    ]
    assert isinstance(task.result, dict)
    assert task.result["order_id"] == context["order_id"]
    assert task.result["tracking_number"]

    (payment,) = orchestration.list_payments(task.task_uuid)
    assert (payment.status, payment.amount_cents, payment.card_last4) == ("captured", 9900, "4242")
    after = orchestration.get_product("GADGET-1")
    assert (after.on_hand, after.reserved) == (before.on_hand - 2, before.reserved)
    with environment.postgres() as connection:
        shipped = connection.execute(
            "SELECT order_id, tracking_number FROM shipments WHERE task_uuid = %s", (task.task_uuid,)
        ).fetchall()
    assert shipped == [(task.result["order_id"], task.result["tracking_number"])]


@pytest.mark.parametrize("workflow", MATHEMATICS, ids=lambda workflow: workflow[0])
def test_a_step_starts_after_its_parents_and_is_given_their_results(
    orchestration: OrchestrationClient, workflow: tuple[str, str]
) -> None:
    task = completed(orchestration, *workflow, {"even_number": 4})
    (template,) = [t for t in orchestration.list_templates(namespace=workflow[0]) if t.name == workflow[1]]
    assert {s.name: s.depends_on for s in task.steps} == {s.name: s.depends_on for s in template.steps}
    for step in task.steps:
        parents = [task.step(name) for name in step.depends_on]
        assert step.input == ({p.name: p.result for p in parents} if parents else {"even_number": 4})
        for parent in parents:
            assert step.started_at is not None
            assert parent.completed_at is not None
            assert step.started_at >= parent.completed_at, f"{step.name} started before {parent.name} was completed"


def test_branches_do_not_wait_for_each_other(orchestration: OrchestrationClient) -> None:
    context: dict[str, JsonValue] = {"even_number": 2, "simulate": {"step": "left", "sleep_seconds": 0.5}}
    task = completed(orchestration, "diamond_workflow", "diamond_pattern", context)
    left, right, merge = (task.step(name) for name in ("left", "right", "merge"))
    assert left.completed_at is not None
    assert right.completed_at is not None
    assert merge.started_at is not None
    assert right.completed_at < left.completed_at <= merge.started_at


def test_of_many_tasks_at_once_every_step_runs_once(
    environment: RunningEnvironment,
    orchestration: OrchestrationClient,
    one_completed_attempt_each: Callable[[RunningEnvironment, Sequence[UUID]], None],
) -> None:
    created = [
        (exponent, orchestration.create_task(*workflow, {"even_number": 2 * n}).task_uuid, 2 * n)
        for n in range(5)
        for workflow, exponent in MATHEMATICS.items()
    ]
    for exponent, task_uuid, number in created:
        task = orchestration.wait_for_completion(task_uuid, timeout=WITHIN_SECONDS)
        assert (task.status, task.result) == (TaskStatus.COMPLETED, number**exponent)
        assert {step.attempts for step in task.steps} == {1}
    one_completed_attempt_each(environment, [task_uuid for _, task_uuid, _ in created])
