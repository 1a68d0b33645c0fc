"""The five workflows, from create to their end."""

from datetime import datetime
from typing import Any

import pytest
from live.harness import Tasker, steps

POWERS = {"linear_workflow": 16, "diamond_workflow": 16, "tree_workflow": 64, "mixed_dag_workflow": 64}


def order(*items: tuple[str, int], card_token: str = "tok_4242", **more: Any) -> dict[str, Any]:  # noqa: S107
    return {
        "order_id": "A-1",
        "customer": {"name": "Ada", "email": "ada@example.com"},
        "items": [{"sku": sku, "quantity": quantity} for sku, quantity in items],
        "payment": {"card_token": card_token},
        **more,
    }


def stock(tasker: Tasker, sku: str) -> tuple[int, int]:
    product = tasker.http.get(f"/v1/inventory/{sku}").json()
    return product["on_hand"], product["reserved"]


def payments(tasker: Tasker, task: dict[str, Any]) -> list[tuple[str, int]]:
    found = tasker.http.get("/v1/payments", params={"task_uuid": task["task_uuid"]}).json()["payments"]
    return [(payment["status"], payment["amount_cents"]) for payment in found]


@pytest.mark.parametrize("namespace", POWERS)
@pytest.mark.parametrize("number", [6, -4, 10**6])
def test_mathematics_is_exact(shared: Tasker, namespace: str, number: int) -> None:
    task = shared.ended(shared.create(namespace, {"even_number": number}))
    assert (task["status"], task["completion_percentage"], task["error"]) == ("completed", 100.0, None)
    assert type(task["result"]) is int
    assert task["result"] == number ** POWERS[namespace]
    assert all(step["attempts"] == 1 and step["status"] == "completed" for step in task["steps"])


def test_a_workflow_of_four_steps_takes_well_under_a_second(shared: Tasker) -> None:
    seconds = []
    for _ in range(5):
        task = shared.ended(shared.create("linear_workflow", {"even_number": 2}))
        took = datetime.fromisoformat(task["completed_at"]) - datetime.fromisoformat(task["created_at"])
        seconds.append(took.total_seconds())
    assert min(seconds) < 0.5, seconds


def test_a_step_starts_after_its_parents_and_gets_their_results(shared: Tasker) -> None:
    task = shared.ended(shared.create("mixed_dag_workflow", {"even_number": 2}))
    done = steps(task)
    for step in task["steps"]:
        for parent in step["depends_on"]:
            assert done[parent]["completed_at"] <= step["started_at"]
        expected = {parent: done[parent]["result"] for parent in step["depends_on"]} or {"even_number": 2}
        assert step["input"] == expected


def test_two_workers_share_the_work_and_run_no_step_twice(shared: Tasker) -> None:
    tasks = [shared.create("tree_workflow", {"even_number": 2}) for _ in range(20)]
    done = [shared.ended(task, seconds=30) for task in tasks]
    every = [step for task in done for step in task["steps"]]
    assert len(every) == 160
    assert all(len(step["history"]) == 1 for step in every)
    assert {step["worker_id"] for step in every} == {"w1", "w2"}


def test_an_order_is_paid_and_leaves_the_stock(shared: Tasker) -> None:
    before, _ = stock(shared, "GADGET-1")
    task = shared.ended(shared.create("order_fulfillment", order(("GADGET-1", 2), ("WIDGET-1", 1))))
    assert task["status"] == "completed"
    assert task["result"]["tracking_number"].startswith("TRK")
    assert payments(shared, task) == [("captured", 2 * 4950 + 1999)]
    assert stock(shared, "GADGET-1") == (before - 2, 0)


def test_a_declined_card_releases_the_goods(shared: Tasker) -> None:
    before = stock(shared, "GIZMO-1")
    task = shared.ended(shared.create("order_fulfillment", order(("GIZMO-1", 3), card_token="tok_0002")))
    assert task["status"] == "failed"
    assert task["error"] == {
        "step": "process_payment",
        "code": "card_declined",
        "message": "the card was declined for 37500 cents",
        "attempts": 1,
    }
    done = steps(task)
    assert done["ship_order"]["status"] == "cancelled"
    assert [(s["name"], s["status"]) for s in task["steps"] if s["kind"] == "compensation"] == [
        ("refund_payment", "completed"),
        ("release_inventory", "completed"),
    ]
    assert task["completion_percentage"] == 50.0
    assert stock(shared, "GIZMO-1") == before
    assert payments(shared, task) == [("declined", 37500)]


def test_an_order_that_fails_after_payment_is_refunded(shared: Tasker) -> None:
    before = stock(shared, "GIZMO-1")
    simulate = {"step": "ship_order", "fail_times": 100, "when": "after"}
    task = shared.ended(shared.create("order_fulfillment", order(("GIZMO-1", 1), simulate=simulate)))
    assert (task["status"], task["error"]["code"], task["error"]["attempts"]) == ("failed", "simulated", 3)
    assert payments(shared, task) == [("refunded", 12500)]
    assert stock(shared, "GIZMO-1") == before


def test_a_repeated_payment_charges_once(shared: Tasker) -> None:
    simulate = {"step": "process_payment", "fail_times": 2, "when": "after"}
    task = shared.ended(shared.create("order_fulfillment", order(("WIDGET-1", 1), simulate=simulate)))
    assert task["status"] == "completed"
    assert steps(task)["process_payment"]["attempts"] == 3
    assert payments(shared, task) == [("captured", 1999)]


@pytest.mark.parametrize(
    ("context", "step", "code", "attempts"),
    [
        (order(("NOTHING-1", 1)), "validate_order", "unknown_product", 1),
        (
            order(("WIDGET-1", 1), payment={"card_token": "tok_4242", "amount_cents": 1}),
            "validate_order",
            "amount_mismatch",
            1,
        ),
        (order(("RELIC-1", 1)), "reserve_inventory", "insufficient_stock", 1),
        # The widgets are held before the relic turns out to be sold out: none of them may stay held.
        (order(("GADGET-1", 1), ("RELIC-1", 1)), "reserve_inventory", "insufficient_stock", 1),
        (order(("WIDGET-1", 1), card_token="tok_0119"), "process_payment", "gateway_error", 3),
    ],
)
def test_an_order_that_cannot_be_filled_fails_with_its_reason(
    shared: Tasker, context: dict[str, Any], step: str, code: str, attempts: int
) -> None:
    task = shared.ended(shared.create("order_fulfillment", context))
    assert task["status"] == "failed"
    assert (task["error"]["step"], task["error"]["code"], task["error"]["attempts"]) == (step, code, attempts)
    assert all(product["reserved"] == 0 for product in shared.http.get("/v1/inventory").json()["products"])
    assert "captured" not in dict(payments(shared, task))


def test_the_last_items_are_sold_once(tasker: Tasker) -> None:
    tasker.worker("w1")
    tasker.worker("w2")
    tasks = [tasker.create("order_fulfillment", order(("GIZMO-1", 4))) for _ in range(6)]
    done = [tasker.ended(task) for task in tasks]
    assert sorted(task["status"] for task in done) == ["completed"] * 2 + ["failed"] * 4
    errors = {(task["error"]["code"], task["error"]["attempts"]) for task in done if task["error"]}
    assert errors == {("insufficient_stock", 1)}
    assert stock(tasker, "GIZMO-1") == (2, 0)
