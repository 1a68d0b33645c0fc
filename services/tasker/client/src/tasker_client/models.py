"""What the two APIs answer, as frozen models. Fields that a newer server adds are ignored."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal
from uuid import UUID

from chassis.client import Document
from pydantic import AwareDatetime, JsonValue


class TaskStatus(StrEnum):
    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether the task will never change again."""
        return self in (TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED)


class StepStatus(StrEnum):
    PENDING = "pending"
    READY = "ready"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class WorkerStatus(StrEnum):
    ACTIVE = "active"
    PAUSED = "paused"
    DRAINING = "draining"
    DRAINED = "drained"
    STOPPED = "stopped"
    LOST = "lost"


class TaskFailure(Document):
    """Why a task failed: the step that did, its error, and how often it was tried."""

    step: str
    code: str
    message: str
    attempts: int


class StepFailure(Document):
    code: str
    message: str


class Attempt(Document):
    """One start of a step by one worker. ``outcome`` is None while it runs."""

    attempt: int
    worker_id: str
    started_at: AwareDatetime
    ended_at: AwareDatetime | None
    outcome: Literal["completed", "failed", "lost", "cancelled"] | None
    error: StepFailure | None


class Step(Document):
    """A step of a task. ``attempts`` counts lost leases too; only the others count against ``max_attempts``."""

    step_uuid: UUID
    name: str
    kind: Literal["action", "compensation"]
    status: StepStatus
    depends_on: tuple[str, ...]
    attempts: int
    lost_leases: int
    max_attempts: int
    worker_id: str | None
    run_after: AwareDatetime | None
    lease_expires_at: AwareDatetime | None
    started_at: AwareDatetime | None
    completed_at: AwareDatetime | None
    duration_ms: float | None
    input: JsonValue
    result: JsonValue
    error: StepFailure | None
    history: tuple[Attempt, ...]


class StepOfTask(Step):
    """A step together with the task that it belongs to."""

    task_uuid: UUID
    namespace: str


class TaskSummary(Document):
    """A task without its context and steps.

    ``outcome``: while compensations run, what ``status`` will become. ``completion_percentage``: 0 to 100.0.
    ``result`` is exact: JSON integers of any size are Python integers.
    """

    task_uuid: UUID
    namespace: str
    name: str
    status: TaskStatus
    outcome: Literal["failed", "cancelled"] | None
    completion_percentage: float
    result: JsonValue
    error: TaskFailure | None
    idempotency_key: str | None
    created_at: AwareDatetime
    updated_at: AwareDatetime
    started_at: AwareDatetime | None
    completed_at: AwareDatetime | None


class Task(TaskSummary):
    context: dict[str, JsonValue]
    steps: tuple[Step, ...]

    def step(self, name: str) -> Step:
        """The step of that name; KeyError when the task has none."""
        for step in self.steps:
            if step.name == name:
                return step
        raise KeyError(f"task {self.task_uuid} has no step {name!r}, it has {', '.join(s.name for s in self.steps)}")


class TaskPage(Document):
    """Tasks, newest first. ``next_cursor`` asks for the page after this one; None: this was the last."""

    tasks: tuple[TaskSummary, ...]
    next_cursor: str | None


class StepPage(Document):
    steps: tuple[StepOfTask, ...]
    next_cursor: str | None


class Namespace(Document):
    name: str
    templates: tuple[str, ...]


class Namespaces(Document):
    namespaces: tuple[Namespace, ...]


class TemplateStep(Document):
    name: str
    depends_on: tuple[str, ...]
    max_attempts: int
    backoff_seconds: float
    compensation: str | None


class Template(Document):
    """A workflow: its DAG and the JSON Schema of its context."""

    namespace: str
    name: str
    description: str
    context_schema: dict[str, JsonValue]
    steps: tuple[TemplateStep, ...]


class Templates(Document):
    templates: tuple[Template, ...]


class Product(Document):
    """Stock of one product. Money is whole cents; ``available`` is what is on hand and not reserved."""

    sku: str
    name: str
    unit_price_cents: int
    on_hand: int
    reserved: int
    available: int


class Payment(Document):
    payment_uuid: UUID
    task_uuid: UUID
    amount_cents: int
    status: Literal["captured", "declined", "refunded", "voided"]
    authorization_code: str | None
    card_last4: str
    created_at: AwareDatetime
    updated_at: AwareDatetime


class Payments(Document):
    payments: tuple[Payment, ...]


class Worker(Document):
    """A worker process as the database knows it. ``running``: how many steps it runs at the moment."""

    worker_id: str
    status: WorkerStatus
    namespaces: tuple[str, ...]
    handlers: tuple[str, ...]
    concurrency: int
    host: str
    version: str
    started_at: AwareDatetime
    last_heartbeat_at: AwareDatetime
    running: int


class RunningStep(Document):
    step_uuid: UUID
    task_uuid: UUID
    namespace: str
    name: str
    attempt: int
    started_at: AwareDatetime
    lease_expires_at: AwareDatetime


class WorkerDetails(Worker):
    running_steps: tuple[RunningStep, ...]


class Workers(Document):
    workers: tuple[Worker, ...]


class WorkerHealth(Document):
    worker_id: str
    healthy: bool
    status: WorkerStatus
    last_heartbeat_at: AwareDatetime
    heartbeat_age_seconds: float
    reason: str | None


class Check(Document):
    status: str
    latency_ms: float | None
    error: str | None


class Health(Document):
    """Health of the service that answers. The last fields are given by one of the two services only."""

    status: Literal["healthy", "starting", "unhealthy"]
    service: str
    version: str
    environment: str
    uptime_seconds: float
    checks: dict[str, Check]
    schema_version: int | None = None
    test_mode: bool | None = None
    worker_id: str | None = None
    worker_status: WorkerStatus | None = None
    namespaces: tuple[str, ...] | None = None
    handlers: int | None = None
    running: int | None = None

    @property
    def healthy(self) -> bool:
        return self.status == "healthy"
