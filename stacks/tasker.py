"""tasker: workflow orchestration. PostgreSQL, the orchestration API, and workers that run the steps."""

from __future__ import annotations

from functools import partial

from ephemera import Build, Environment, Option, Source, System
from ephemera.components import Postgres, WebService
from stacks.images import SERVICE_POSTGRES

_CODE = partial(Source, folder="services/tasker/src", target="/app/src")
_IMAGE = partial(Build, "services/tasker", bases={"SERVICE_IMAGE": SERVICE_POSTGRES})

tasker = System(
    "tasker",
    description="workflow orchestration: API, workers, PostgreSQL",
    suite="tests/e2e/tasker",
    options={
        "log_level": Option("info", "log level of orchestration and workers"),
        "lease_seconds": Option(5, "how long a worker holds a step without a heartbeat"),
    },
    fixed_ports={"test": {"postgres.postgres": 5432, "orchestration.http": 8080, "worker.http": 8081}},
)


@tasker.program
def program(environment: Environment) -> None:
    """Declare the services."""
    log_level = str(environment.option("log_level"))
    database = Postgres(
        "postgres", image=Build("services/tasker/postgres"), database="tasker_integration_test", user="tasker"
    )
    orchestration = WebService(
        "orchestration",
        image=_IMAGE(target="orchestration-test"),
        package="chassis",
        port=8080,
        variables={"DATABASE_URL": database.url, "TASKER_ENV": "test", "TASKER_TEST_MODE": "1", "LOG_LEVEL": log_level},
        start_period_seconds=20,
        source=_CODE(unused=("tasker/worker", "tasker/integration_worker")),
    )
    for name, worker, profile in (
        ("worker", "integration-worker", None),
        ("worker-2", "integration-worker-2", "scale"),
    ):
        WebService(
            name,
            image=_IMAGE(target="integration-worker"),
            package="chassis",
            port=8081,
            profile=profile,
            publish=profile is None,
            variables={
                "DATABASE_URL": database.url,
                "TASKER_ORCHESTRATION_URL": "http://orchestration:8080",
                "TASKER_WORKER_ID": worker,
                "TASKER_LEASE_SECONDS": str(environment.option("lease_seconds")),
                "TASKER_ENV": "test",
                "LOG_LEVEL": log_level,
            },
            needs=[orchestration],
            source=_CODE(unused=("tasker/orchestration",)),
        )
