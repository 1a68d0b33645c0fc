"""What goes over the wire: see WIRE.md."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from chassis.health import Health
from pydantic import BaseModel

from tasker.steps import Step

WorkerStatus = Literal["active", "paused", "draining", "drained", "stopped", "lost"]


class Worker(BaseModel):
    worker_id: str
    status: WorkerStatus
    namespaces: list[str]
    handlers: list[str]
    concurrency: int
    host: str
    version: str
    started_at: datetime
    last_heartbeat_at: datetime
    running: int


class RunningStep(BaseModel):
    step_uuid: UUID
    task_uuid: UUID
    namespace: str
    name: str
    attempt: int
    started_at: datetime
    lease_expires_at: datetime


class WorkerDetails(Worker):
    running_steps: list[RunningStep]


class Workers(BaseModel):
    workers: list[Worker]


class WorkerHealth(BaseModel):
    worker_id: str
    healthy: bool
    status: WorkerStatus
    last_heartbeat_at: datetime
    heartbeat_age_seconds: float
    reason: str | None


class StepOfTask(Step):
    task_uuid: UUID
    namespace: str


class StepPage(BaseModel):
    steps: list[StepOfTask]
    next_cursor: str | None


class ThisWorkerHealth(Health):
    """Of the worker that answers."""

    worker_id: str
    worker_status: str | None
    namespaces: list[str]
    handlers: int
    running: int
