"""The environment variables of both services."""

from typing import Annotated

from chassis.settings import CommaList, HttpUrl, PostgresUrl, ServiceSettings, prefixed
from pydantic import Field

from tasker.workflows.catalog import NAMESPACES


class TaskerSettings(ServiceSettings):
    """What both services read."""

    model_config = prefixed("TASKER_")

    database_url: Annotated[PostgresUrl, Field(alias="DATABASE_URL")]
    environment: Annotated[str, Field(alias="TASKER_ENV")] = "development"


class OrchestrationSettings(TaskerSettings):
    test_mode: bool = False


class WorkerSettings(TaskerSettings):
    """`lease_seconds`: how long a step stays with a worker that no longer says anything. `poll_seconds`: how often to
    look for steps even though none was announced. `drain_seconds`: how long running steps may go on after SIGTERM."""

    port: Annotated[int, Field(ge=1, le=65535)] = 8081
    orchestration_url: HttpUrl
    worker_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]
    namespaces: Annotated[tuple[str, ...], CommaList, Field(min_length=1)] = NAMESPACES
    concurrency: Annotated[int, Field(ge=1, le=64)] = 4
    lease_seconds: Annotated[float, Field(ge=0.5, le=600)] = 5.0
    poll_seconds: Annotated[float, Field(gt=0, le=60)] = 2.0
    drain_seconds: Annotated[float, Field(ge=0, le=600)] = 5.0

    @property
    def heartbeat_seconds(self) -> float:
        """A third of the lease: two heartbeats may be late before it ends."""
        return self.lease_seconds / 3
