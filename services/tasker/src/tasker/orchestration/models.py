"""What goes over the wire: see WIRE.md."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from chassis.health import Health
from pydantic import BaseModel, ConfigDict, Field

from tasker.steps import Step

TaskStatus = Literal["pending", "in_progress", "completed", "failed", "cancelled"]
IdempotencyKey = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[ -~]+$")]


class CreateTask(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    namespace: Annotated[str, Field(max_length=100)]
    name: Annotated[str, Field(max_length=100)]
    context: dict[str, Any]
    idempotency_key: IdempotencyKey | None = None


class TaskSummary(BaseModel):
    task_uuid: UUID
    namespace: str
    name: str
    status: TaskStatus
    outcome: Literal["failed", "cancelled"] | None
    completion_percentage: float
    result: Any
    error: dict[str, Any] | None
    idempotency_key: str | None
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None
    completed_at: datetime | None


class Task(TaskSummary):
    context: dict[str, Any]
    steps: list[Step]


class TaskPage(BaseModel):
    tasks: list[TaskSummary]
    next_cursor: str | None


class Namespace(BaseModel):
    name: str
    templates: list[str]


class Namespaces(BaseModel):
    namespaces: list[Namespace]


class TemplateStep(BaseModel):
    name: str
    depends_on: list[str]
    max_attempts: int
    backoff_seconds: float
    compensation: str | None


class TemplateDocument(BaseModel):
    namespace: str
    name: str
    description: str
    context_schema: dict[str, Any]
    steps: list[TemplateStep]


class Templates(BaseModel):
    templates: list[TemplateDocument]


class Product(BaseModel):
    sku: str
    name: str
    unit_price_cents: int
    on_hand: int
    reserved: int
    available: int


class Products(BaseModel):
    products: list[Product]


class Payment(BaseModel):
    payment_uuid: UUID
    task_uuid: UUID
    amount_cents: int
    status: Literal["captured", "declined", "refunded", "voided"]
    authorization_code: str | None
    card_last4: str
    created_at: datetime
    updated_at: datetime


class Payments(BaseModel):
    payments: list[Payment]


class OrchestrationHealth(Health):
    schema_version: int | None
    test_mode: bool
