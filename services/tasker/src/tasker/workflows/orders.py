"""The steps of an order.

Stock, reservations and shipments are ours: they change in the transaction that keeps the step's result.
"""

from typing import Any

from chassis.database import Connection, Row

from tasker.workflows import payments
from tasker.workflows.handler import Call, StepError

PAYMENT_STEP = "process_payment"


async def validate_order(call: Call) -> Row:
    """Price the order. Refuses unknown products and an amount that is not the total."""
    items = call.context["items"]
    prices = await _prices(call.connection, [item["sku"] for item in items])
    lines = []
    for item in items:
        sku, quantity = item["sku"], item["quantity"]
        if sku not in prices:
            raise StepError("unknown_product", f"there is no product {sku!r}")
        lines.append(
            {"sku": sku, "quantity": quantity, "unit_price_cents": prices[sku], "total_cents": prices[sku] * quantity}
        )
    total = sum(line["total_cents"] for line in lines)
    amount = call.context["payment"].get("amount_cents")
    if amount is not None and amount != total:
        raise StepError("amount_mismatch", f"the payment is {amount} cents, the order's total is {total}")
    return {"order_id": call.context["order_id"], "lines": lines, "total_cents": total}


async def reserve_inventory(call: Call) -> Row:
    """Hold the goods: all of them or none."""
    order = call.input["validate_order"]
    lines = sorted(order["lines"], key=lambda line: str(line["sku"]))
    for line in lines:
        held = await call.connection.execute(
            """
                UPDATE products SET reserved = reserved + %(quantity)s
                WHERE sku = %(sku)s AND on_hand - reserved >= %(quantity)s
            """,
            line,
        )
        if held.rowcount == 0:
            raise StepError("insufficient_stock", f"fewer than {line['quantity']} of {line['sku']!r} are available")
        await call.connection.execute(
            "INSERT INTO reservations (task_uuid, step, sku, quantity) VALUES (%s, %s, %s, %s)",
            (call.task_uuid, call.step, line["sku"], line["quantity"]),
        )
    return {
        "reserved": [{"sku": line["sku"], "quantity": line["quantity"]} for line in lines],
        "total_cents": order["total_cents"],
    }


async def release_inventory(call: Call) -> Row:
    """Undo `reserve_inventory`."""
    return {"released": await _let_go(call, "released")}


async def process_payment(call: Call) -> Row:
    """Charge the card, once however often the step runs."""
    total = call.input["reserve_inventory"]["total_cents"]
    try:
        charge = await payments.charge(
            call.database,
            task_uuid=call.task_uuid,
            step=PAYMENT_STEP,
            amount_cents=total,
            card_token=call.context["payment"]["card_token"],
        )
    except payments.GatewayError as error:
        raise StepError("gateway_error", str(error), retry=True) from error
    if charge.status == "declined":
        raise StepError("card_declined", f"the card was declined for {total} cents")
    if charge.status != "captured":
        raise StepError("payment_closed", f"the payment was {charge.status} before: the order is being undone")
    return {
        "payment_uuid": str(charge.payment_uuid),
        "amount_cents": charge.amount_cents,
        "authorization_code": charge.authorization_code,
    }


async def refund_payment(call: Call) -> Row:
    """Undo `process_payment`."""
    return {"payment": await payments.refund(call.database, task_uuid=call.task_uuid, step=PAYMENT_STEP)}


async def ship_order(call: Call) -> Row:
    """Take the held goods out of stock and hand them to the carrier."""
    await _let_go(call, "shipped")
    shipment = await (
        await call.connection.execute(
            """
                INSERT INTO shipments (task_uuid, step, order_id) VALUES (%s, %s, %s)
                RETURNING shipment_uuid, tracking_number
            """,
            (call.task_uuid, call.step, call.context["order_id"]),
        )
    ).fetchone()
    assert shipment is not None  # noqa: S101  RETURNING
    return {
        "shipment_uuid": str(shipment["shipment_uuid"]),
        "order_id": call.context["order_id"],
        "tracking_number": shipment["tracking_number"],
    }


async def _prices(connection: Connection, skus: list[str]) -> dict[str, int]:
    rows = await (
        await connection.execute("SELECT sku, unit_price_cents FROM products WHERE sku = ANY (%s)", (skus,))
    ).fetchall()
    return {row["sku"]: row["unit_price_cents"] for row in rows}


async def _let_go(call: Call, status: str) -> list[dict[str, Any]]:
    """End the task's reservations as `released` (back to stock) or `shipped` (out of it)."""
    held = await (
        await call.connection.execute(
            "UPDATE reservations SET status = %s WHERE task_uuid = %s AND status = 'held' RETURNING sku, quantity",
            (status, call.task_uuid),
        )
    ).fetchall()
    for line in sorted(held, key=lambda line: str(line["sku"])):
        await call.connection.execute(
            """
                UPDATE products SET reserved = reserved - %(quantity)s,
                  on_hand = on_hand - CASE WHEN %(shipped)s THEN %(quantity)s ELSE 0 END
                WHERE sku = %(sku)s
            """,
            {**line, "shipped": status == "shipped"},
        )
    return [dict(line) for line in held]


async def products(connection: Connection) -> list[Row]:
    """What each product costs, and how many there are."""
    return await (
        await connection.execute(
            """
                SELECT sku, name, unit_price_cents, on_hand, reserved, on_hand - reserved AS available FROM products
                ORDER BY sku
            """
        )
    ).fetchall()
