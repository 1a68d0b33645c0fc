"""Every step handler, by the name that the catalog uses."""

from collections.abc import Mapping

from tasker.workflows import mathematics, orders
from tasker.workflows.handler import Handler

HANDLERS: Mapping[str, Handler] = {
    "square": mathematics.square,
    "validate_order": orders.validate_order,
    "reserve_inventory": orders.reserve_inventory,
    "release_inventory": orders.release_inventory,
    "process_payment": orders.process_payment,
    "refund_payment": orders.refund_payment,
    "ship_order": orders.ship_order,
}
