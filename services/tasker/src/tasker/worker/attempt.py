"""One attempt of a step: run its handler, and keep what came of it even when the database goes away meanwhile."""

import asyncio

import structlog
from chassis.database import GONE, Database, Row

from tasker.store import steps
from tasker.store.steps import Claim, LeaseLostError
from tasker.worker.simulation import simulate
from tasker.workflows.handler import Call, Handler, StepError

log = structlog.get_logger()

_RETRY_SECONDS = 0.2


async def run_attempt(database: Database, claim: Claim, handler: Handler) -> str:
    """`completed`, `retried`, `failed`, or `lost` when the attempt was no longer ours to end.

    While the database is gone this waits for it, however long: the lease decides whose the step is by then. A handler
    whose transaction was lost runs again within the attempt.
    """
    failure: tuple[Row, bool] | None = None
    again = False
    while True:
        try:
            if again and (ended := await _ended(database, claim)) is not None:
                return ended
            if failure is None:
                failure = await _perform(database, claim, handler)
            if failure is None:
                return "completed"
            error, retry = failure
            async with database.transaction() as connection:
                return "retried" if await steps.fail(connection, claim, error, retry=retry) else "failed"
        except LeaseLostError:
            return "lost"
        except GONE as error:
            # The commit may have arrived before the connection broke: asked before anything is repeated.
            again = True
            log.warning(
                "database is gone during a step", step=claim.name, task_uuid=str(claim.task_uuid), error=str(error)
            )
            await asyncio.sleep(_RETRY_SECONDS)


async def _ended(database: Database, claim: Claim) -> str | None:
    async with database.transaction() as connection:
        outcome = await steps.outcome(connection, claim)
    return "lost" if outcome == "cancelled" else outcome


async def _perform(database: Database, claim: Claim, handler: Handler) -> tuple[Row, bool] | None:
    """The error to keep, and whether another attempt may help; None when the result is kept."""
    try:
        await simulate(claim, "before")
        async with database.transaction() as connection:
            result = await handler(
                Call(
                    task_uuid=claim.task_uuid,
                    step=claim.name,
                    input=claim.input,
                    context=claim.context,
                    connection=connection,
                    database=database,
                )
            )
            await simulate(claim, "after")
            await steps.complete(connection, claim, result)
    except (LeaseLostError, *GONE):
        raise
    except StepError as error:
        return {"code": error.code, "message": str(error)}, error.retry
    except Exception as error:  # a handler's defect fails its step, never the worker
        log.exception("step raised", step=claim.name, task_uuid=str(claim.task_uuid))
        return {"code": "unexpected", "message": f"{type(error).__name__}: {error}"}, True
    return None
