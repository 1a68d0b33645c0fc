"""What the environment says, read once at the start and checked as a whole."""

from collections.abc import Mapping
from typing import Annotated, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from tasker.workflows.catalog import NAMESPACES


class SettingsError(Exception):
    """A variable of the environment is wrong or missing; the message names each one."""


class ServiceSettings(BaseModel):
    """What both services read. Field aliases are the names of the variables."""

    model_config = ConfigDict(frozen=True)

    database_url: Annotated[str, Field(alias="DATABASE_URL", pattern=r"^postgres(ql)?://.+")]
    environment: Annotated[str, Field(alias="TASKER_ENV")] = "development"
    log_level: Annotated[str, Field(alias="LOG_LEVEL", pattern="^(?i:debug|info|warning|error)$")] = "info"
    host: Annotated[str, Field(alias="TASKER_HOST")] = "0.0.0.0"  # noqa: S104  a container's only door is its network
    start_timeout_seconds: Annotated[float, Field(alias="TASKER_START_TIMEOUT_SECONDS", gt=0)] = 60.0


class OrchestrationSettings(ServiceSettings):
    port: Annotated[int, Field(alias="TASKER_PORT", ge=1, le=65535)] = 8080
    test_mode: Annotated[bool, Field(alias="TASKER_TEST_MODE")] = False


def _comma_list(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


class WorkerSettings(ServiceSettings):
    """`lease_seconds`: how long a step stays with a worker that no longer says anything. `poll_seconds`: how often to
    look for steps even though none was announced. `drain_seconds`: how long running steps may go on after SIGTERM."""

    port: Annotated[int, Field(alias="TASKER_PORT", ge=1, le=65535)] = 8081
    orchestration_url: Annotated[str, Field(alias="TASKER_ORCHESTRATION_URL", pattern=r"^https?://.+")]
    worker_id: Annotated[str, Field(alias="TASKER_WORKER_ID", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]
    namespaces: Annotated[
        tuple[str, ...], BeforeValidator(_comma_list), Field(alias="TASKER_NAMESPACES", min_length=1)
    ] = NAMESPACES
    concurrency: Annotated[int, Field(alias="TASKER_CONCURRENCY", ge=1, le=64)] = 4
    lease_seconds: Annotated[float, Field(alias="TASKER_LEASE_SECONDS", ge=0.5, le=600)] = 5.0
    poll_seconds: Annotated[float, Field(alias="TASKER_POLL_SECONDS", gt=0, le=60)] = 2.0
    drain_seconds: Annotated[float, Field(alias="TASKER_DRAIN_SECONDS", ge=0, le=600)] = 5.0

    @property
    def heartbeat_seconds(self) -> float:
        """A third of the lease: two heartbeats may be late before it ends."""
        return self.lease_seconds / 3


S = TypeVar("S", bound=ServiceSettings)


def load(kind: type[S], environ: Mapping[str, str]) -> S:
    """`kind` from `environ`; a variable that is set but empty counts as not set. Raises SettingsError."""
    try:
        return kind.model_validate({name: value for name, value in environ.items() if value != ""})
    except ValidationError as error:
        # The values stay out of the message: one of them carries the database's password.
        problems = "; ".join(f"{item['loc'][0]}: {item['msg']}" for item in error.errors(include_input=False))
        raise SettingsError(f"bad environment: {problems}") from None
