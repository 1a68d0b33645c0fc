"""tasker: workflow orchestration. PostgreSQL, the orchestration API, and workers that run the steps."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ephemera.contract.catalog import Option, Service, Source, System
from ephemera.contract.images import EngineImage, ServiceImage

if TYPE_CHECKING:
    from ephemera.resources import Environment

_SOURCES = Path(__file__).resolve().parent.parent / "services" / "tasker"
_CODE = partial(Source, folder=_SOURCES / "src", target="/opt/tasker")
_PYTHON = EngineImage(name="python")
_DATABASE = "tasker_integration_test"

POSTGRES = ServiceImage(
    name="tasker-postgres", context=_SOURCES / "postgres", bases={"POSTGRES_IMAGE": EngineImage(name="postgres")}
)
ORCHESTRATION = ServiceImage(
    name="tasker-orchestration", context=_SOURCES, target="orchestration-test", bases={"PYTHON_IMAGE": _PYTHON}
)
WORKER = ServiceImage(
    name="tasker-worker", context=_SOURCES, target="integration-worker", bases={"PYTHON_IMAGE": _PYTHON}
)

SYSTEM = System(
    description="workflow orchestration: API, workers, PostgreSQL",
    program="stacks.tasker:program",
    suite="tests/e2e/tasker",
    services={
        "postgres": Service(),
        "orchestration": Service(
            requires=("postgres",), source=_CODE(unused=("tasker/worker", "tasker/integration_worker"))
        ),
        "worker": Service(requires=("orchestration",), source=_CODE(unused=("tasker/orchestration",))),
        "worker-2": Service(
            requires=("orchestration",),
            profile="scale",
            required=False,
            source=_CODE(unused=("tasker/orchestration",)),
        ),
    },
    images=(POSTGRES, ORCHESTRATION, WORKER),
    memory_mb=1024,
    cpus=2.0,
    options={
        "log_level": Option(type="string", default="info", help="log level of orchestration and workers"),
        "lease_seconds": Option(type="integer", default=5, help="how long a worker holds a step without a heartbeat"),
    },
    fixed_ports={"test": {"postgres.postgres": 5432, "orchestration.http": 8080, "worker.http": 8081}},
)


def program(environment: Environment) -> None:
    """Register the services that are selected."""

    from components import Postgres, WebService

    postgres = Postgres(
        "postgres",
        database=_DATABASE,
        user="tasker",
        image=POSTGRES,
    )
    if "orchestration" not in environment.selected:
        return
    log_level = str(environment.option("log_level"))
    orchestration = WebService(
        "orchestration",
        image=ORCHESTRATION,
        package="tasker",
        port=8080,
        variables={
            "DATABASE_URL": postgres.url,
            "TASKER_ENV": "test",
            "TASKER_TEST_MODE": "1",
            "LOG_LEVEL": log_level,
        },
        needs=(postgres,),
        start_period_seconds=20,
    )
    for name in ("worker", "worker-2"):
        if name not in environment.selected:
            continue
        published = name == "worker"
        WebService(
            name,
            image=WORKER,
            package="tasker",
            port=8081,
            publish=published,
            variables={
                "DATABASE_URL": postgres.url,
                "TASKER_ORCHESTRATION_URL": "http://orchestration:8080",
                "TASKER_WORKER_ID": "integration-worker" if published else "integration-worker-2",
                "TASKER_LEASE_SECONDS": str(environment.option("lease_seconds")),
                "TASKER_ENV": "test",
                "LOG_LEVEL": log_level,
            },
            needs=(orchestration,),
        )
