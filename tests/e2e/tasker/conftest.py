"""What every test of the suite drives: the client library, and the installed command line, against one environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import pytest
from pydantic import JsonValue
from tasker_client import OrchestrationClient, Step, StepStatus, WorkerClient

if TYPE_CHECKING:
    from ephemera.pytest_plugin.environments import RunningEnvironment


@pytest.fixture(scope="session")
def orchestration(environment: RunningEnvironment) -> Iterator[OrchestrationClient]:
    """Client of the orchestration API."""
    with OrchestrationClient(str(environment.endpoint("orchestration").url)) as client:
        yield client


@pytest.fixture(scope="session")
def worker(environment: RunningEnvironment) -> Iterator[WorkerClient]:
    """Client of the worker API."""
    with WorkerClient(str(environment.endpoint("worker").url)) as client:
        yield client


@pytest.fixture
def cli(environment: RunningEnvironment, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the installed ``tasker-cli`` against the environment, with a home of its own: ``cli("task", "list")``."""
    beside = str(Path(sys.executable).parent)
    command = shutil.which("tasker-cli", path=f"{beside}{os.pathsep}{os.environ['PATH']}")
    assert command, "tasker-cli is not installed here: pip install services/tasker/client"
    variables = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "TASKER_ORCHESTRATION_URL": str(environment.endpoint("orchestration").url),
        "TASKER_WORKER_URL": str(environment.endpoint("worker").url),
    }

    def run(*arguments: str, **overrides: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [command, *arguments], env=variables | overrides, capture_output=True, text=True, timeout=20, check=False
        )

    return run


@pytest.fixture(scope="session")
def once_running(eventually: Callable[..., Step]) -> Callable[[OrchestrationClient, UUID, str], Step]:
    """``once_running(client, task, step)``: the step as soon as a worker has started it."""

    def wait(client: OrchestrationClient, task_uuid: UUID, name: str) -> Step:
        def running() -> Step | None:
            step = client.get_task(task_uuid).step(name)
            return step if step.status is StepStatus.IN_PROGRESS else None

        return eventually(f"step {name} of task {task_uuid} in progress", running)

    return wait


@pytest.fixture
def order() -> Callable[..., dict[str, JsonValue]]:
    """``order("WIDGET-1", 2, card="tok_…")``: the context of an order that nobody else has placed."""

    def make(sku: str, quantity: int, *, card: str = "tok_visa_4242", **further: JsonValue) -> dict[str, JsonValue]:
        return {
            "order_id": f"order-{uuid4()}",
            "customer": {"name": "Ada Lovelace", "email": "ada@example.org"},
            "items": [{"sku": sku, "quantity": quantity}],
            "payment": {"card_token": card},
            **further,
        }

    return make


@pytest.fixture(scope="session")
def one_completed_attempt_each() -> Callable[[RunningEnvironment, Sequence[UUID]], None]:
    """Checks in the database that each step of these tasks was completed by one attempt, and how many workers did."""

    def check(environment: RunningEnvironment, tasks: Sequence[UUID]) -> None:
        with environment.postgres() as connection:
            rows = connection.execute(
                "SELECT s.task_uuid, s.name, count(a.*) FILTER (WHERE a.outcome = 'completed') AS completed"
                " FROM steps s LEFT JOIN step_attempts a USING (step_uuid)"
                " WHERE s.task_uuid = ANY (%s) GROUP BY 1, 2",
                (list(tasks),),
            ).fetchall()
        assert {row[0] for row in rows} == set(tasks)
        assert [row for row in rows if row[2] != 1] == []

    return check
