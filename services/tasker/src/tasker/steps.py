"""A step as both APIs show it: see WIRE.md."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel

StepStatus = Literal["pending", "ready", "in_progress", "completed", "failed", "cancelled"]


class Attempt(BaseModel):
    attempt: int
    worker_id: str
    started_at: datetime
    ended_at: datetime | None
    outcome: Literal["completed", "failed", "lost", "cancelled"] | None
    error: dict[str, Any] | None


class Step(BaseModel):
    step_uuid: UUID
    name: str
    kind: Literal["action", "compensation"]
    status: StepStatus
    depends_on: list[str]
    attempts: int
    lost_leases: int
    max_attempts: int
    worker_id: str | None
    run_after: datetime | None
    lease_expires_at: datetime | None
    started_at: datetime | None
    completed_at: datetime | None
    duration_ms: float | None
    input: dict[str, Any] | None
    result: Any
    error: dict[str, Any] | None
    history: list[Attempt]
