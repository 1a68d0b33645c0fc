"""Test mode's slow and failing steps. Orchestration lets `simulate` into a context in test mode only."""

import asyncio

from tasker.store.steps import Claim
from tasker.workflows.contexts import Simulation
from tasker.workflows.handler import StepError


async def simulate(claim: Claim, when: str) -> None:
    """Sleep or fail as the task's context asks for this step at this moment (`before` or `after` its handler)."""
    if "simulate" not in claim.context:
        return
    asked = Simulation.model_validate(claim.context["simulate"])
    if asked.step != claim.name or asked.when != when:
        return
    if claim.attempt == 1:
        await asyncio.sleep(asked.sleep_seconds)
    if claim.counted_attempt <= asked.fail_times:
        raise StepError("simulated", f"simulated failure {claim.counted_attempt} of {asked.fail_times}", retry=True)
