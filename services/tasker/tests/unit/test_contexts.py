"""Which contexts are refused, and which field is named."""

from typing import Any

import pytest
from tasker.workflows.catalog import CATALOG
from tasker.workflows.contexts import InvalidContextError, check

LINEAR = CATALOG.template("linear_workflow", "mathematical_sequence")
ORDER = CATALOG.template("order_fulfillment", "business_workflow")


def order(**changes: Any) -> dict[str, Any]:
    return {
        "order_id": "A-1",
        "customer": {"name": "Ada", "email": "ada@example.com"},
        "items": [{"sku": "WIDGET-1", "quantity": 2}],
        "payment": {"card_token": "tok_4242"},
        **changes,
    }


@pytest.mark.parametrize("number", [0, 2, -2, 10**6, -(10**6)])
def test_even_integers_are_accepted(number: int) -> None:
    check(LINEAR, {"even_number": number}, test_mode=False)


@pytest.mark.parametrize("value", [True, False, 6.0, 1e2, "6", None, 7, -1, 10**6 + 2, -(10**6) - 2, [6], 10**400])
def test_anything_but_a_strict_even_integer_is_refused_and_named(value: object) -> None:
    with pytest.raises(InvalidContextError, match="even_number") as caught:
        check(LINEAR, {"even_number": value}, test_mode=False)
    assert caught.value.field == "context.even_number"


@pytest.mark.parametrize(
    ("context", "field"),
    [
        ({}, "context.even_number"),
        ({"even_number": 2, "odd_number": 3}, "context.odd_number"),
        ({"even_number": 2, "simulate": {"step": "square_1"}}, "context.simulate"),
    ],
)
def test_missing_and_unknown_fields_are_named(context: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidContextError) as caught:
        check(LINEAR, context, test_mode=False)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"items": []}, "context.items"),
        ({"items": [{"sku": "A", "quantity": 1}, {"sku": "A", "quantity": 2}]}, "context.items"),
        ({"items": [{"sku": "A", "quantity": 0}]}, "context.items.0.quantity"),
        ({"items": [{"sku": "A", "quantity": True}]}, "context.items.0.quantity"),
        ({"items": [{"sku": "A", "quantity": 1, "colour": "red"}]}, "context.items.0.colour"),
        ({"customer": {"name": "a\x00b", "email": "a@b"}}, "context.customer.name"),
        ({"customer": {"name": "\ud800", "email": "a@b"}}, "context.customer.name"),
        ({"payment": {"card_token": "4242424242424242"}}, "context.payment.card_token"),
        ({"payment": {"card_token": "tok_4242", "amount_cents": 19.99}}, "context.payment.amount_cents"),
        ({"order_id": "a b"}, "context.order_id"),
    ],
)
def test_a_wrong_order_names_its_field(changes: dict[str, Any], field: str) -> None:
    check(ORDER, order(), test_mode=False)
    with pytest.raises(InvalidContextError) as caught:
        check(ORDER, order(**changes), test_mode=False)
    assert caught.value.field == field


def test_test_mode_takes_a_simulation_of_a_step_that_exists() -> None:
    check(LINEAR, {"even_number": 2, "simulate": {"step": "square_2", "sleep_seconds": 2}}, test_mode=True)
    check(ORDER, order(simulate={"step": "ship_order", "fail_times": 1, "when": "after"}), test_mode=True)


@pytest.mark.parametrize(
    ("simulate", "field"),
    [
        ({"step": "start"}, "context.simulate.step"),
        ({}, "context.simulate.step"),
        ({"step": "square_1", "fail_times": -1}, "context.simulate.fail_times"),
        ({"step": "square_1", "sleep_seconds": 31}, "context.simulate.sleep_seconds"),
        ({"step": "square_1", "sleep_seconds": float("nan")}, "context.simulate.sleep_seconds"),
        ({"step": "square_1", "when": "during"}, "context.simulate.when"),
        ("square_1", "context.simulate"),
        (None, "context.simulate"),
    ],
)
def test_a_wrong_simulation_names_its_field(simulate: object, field: str) -> None:
    with pytest.raises(InvalidContextError) as caught:
        check(LINEAR, {"even_number": 2, "simulate": simulate}, test_mode=True)
    assert caught.value.field == field
