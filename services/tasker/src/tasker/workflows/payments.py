"""The payment gateway, doubled: the one paid service outside. A table takes the place of its books.

It behaves as a gateway does. A charge is kept under an idempotency key (the task and the step) in a transaction of its
own, so it stays charged when the worker dies right after; asked again, it answers what it answered first. Rules by card
token: one that ends in `0002` is declined, one that ends in `0119` meets a gateway that is out of order, any other is
charged.
"""

from dataclasses import dataclass
from uuid import UUID

from chassis.database import Connection, Database


class GatewayError(Exception):
    """The gateway did not answer as it should: nobody knows whether anything was charged. Worth another try."""


@dataclass(frozen=True, kw_only=True)
class Charge:
    """`status`: `captured`, `declined`, `refunded`, or `voided`: the key was closed before anything was charged."""

    payment_uuid: UUID
    status: str
    amount_cents: int
    authorization_code: str | None


async def charge(database: Database, *, task_uuid: UUID, step: str, amount_cents: int, card_token: str) -> Charge:
    """Charge once per task and step. Raises GatewayError."""
    if card_token.endswith("0119"):
        raise GatewayError("the payment gateway answered 502")
    declined = card_token.endswith("0002")
    async with database.transaction() as connection:
        await connection.execute(
            """
                INSERT INTO payments (task_uuid, step, amount_cents, card_last4, status, authorization_code)
                VALUES (%s, %s, %s, %s, %s,
                  CASE WHEN %s THEN NULL ELSE 'auth_' || encode(gen_random_bytes(12), 'hex') END)
                ON CONFLICT (task_uuid, step) DO NOTHING
            """,
            (task_uuid, step, amount_cents, card_token[-4:], "declined" if declined else "captured", declined),
        )
        row = await (
            await connection.execute(
                """
                    SELECT payment_uuid, status, amount_cents, authorization_code FROM payments WHERE task_uuid = %s
                    AND step = %s
                """,
                (task_uuid, step),
            )
        ).fetchone()
    assert row is not None  # noqa: S101  inserted, or in the way of the insert
    return Charge(**row)


async def refund(database: Database, *, task_uuid: UUID, step: str) -> str:
    """The charge's status afterwards. Where there was none it is `voided`, so that one that comes late is refused."""
    async with database.transaction() as connection:
        row = await (
            await connection.execute(
                """
                    INSERT INTO payments (task_uuid, step, amount_cents, card_last4, status)
                    VALUES (%s, %s, 0, '', 'voided')
                    ON CONFLICT (task_uuid, step) DO UPDATE SET updated_at = now(),
                      status = CASE payments.status WHEN 'captured' THEN 'refunded' ELSE payments.status END
                    RETURNING status
                """,
                (task_uuid, step),
            )
        ).fetchone()
    assert row is not None  # noqa: S101  inserted or updated
    status: str = row["status"]
    return status


async def of_task(connection: Connection, task_uuid: UUID) -> list[dict[str, object]]:
    return await (
        await connection.execute(
            """
                SELECT payment_uuid, task_uuid, amount_cents, status, authorization_code, card_last4, created_at,
                updated_at
                FROM payments WHERE task_uuid = %s ORDER BY payment_uuid
            """,
            (task_uuid,),
        )
    ).fetchall()
