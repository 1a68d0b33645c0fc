"""Workers and database that go away, in an environment of its own with a second worker; and that it shares nothing.

One environment serves the whole module: every test finds both workers active and leaves whatever it broke behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
from pydantic import JsonValue
from tasker_client import (
    NotFoundError,
    OrchestrationClient,
    Step,
    StepStatus,
    Task,
    TaskStatus,
    UnavailableError,
    WorkerClient,
    WorkerStatus,
)

if TYPE_CHECKING:
    from ephemera.pytest_plugin.environments import EnvironmentFactory, RunningEnvironment

pytestmark = [
    pytest.mark.timeout(90, func_only=True),
    # One test needs the run's environment too. Pytest orders tests by their session-wide fixtures: when all of the
    # module have it, they stay together, and `own` is made once.
    pytest.mark.usefixtures("environment"),
]

OnceRunning = Callable[[OrchestrationClient, UUID, str], Step]
Eventually = Callable[..., Any]
OneAttemptEach = Callable[["RunningEnvironment", Sequence[UUID]], None]

LINEAR = ("linear_workflow", "mathematical_sequence")
SERVICE_OF = {"integration-worker": "worker", "integration-worker-2": "worker-2"}


@pytest.fixture(scope="module")
def own(module_environment_factory: EnvironmentFactory) -> RunningEnvironment:
    # A short lease: a worker that dies is replaced after two seconds.
    return module_environment_factory(profiles=("scale",), config={"lease_seconds": "2"})


@pytest.fixture(scope="module")
def orchestration(own: RunningEnvironment) -> Iterator[OrchestrationClient]:
    with OrchestrationClient(str(own.endpoint("orchestration").url)) as client:
        yield client


@pytest.fixture(scope="module")
def worker(own: RunningEnvironment) -> Iterator[WorkerClient]:
    with WorkerClient(str(own.endpoint("worker").url)) as client:
        yield client


@pytest.fixture(autouse=True)
def both_active(own: RunningEnvironment, worker: WorkerClient, eventually: Eventually) -> None:
    """Whatever the test before has broken is whole again."""
    for service in ("postgres", "orchestration", *SERVICE_OF.values()):
        if own.service(service).state() != "running":
            own.service(service).start()
        own.service(service).wait_ready(30)
    for worker_id in SERVICE_OF:
        worker.resume(worker_id)
    eventually("both workers active", lambda: active(worker) == set(SERVICE_OF))


def active(worker: WorkerClient) -> set[str]:
    return {found.worker_id for found in worker.list_workers() if found.status is WorkerStatus.ACTIVE}


def sleeping(step: str, seconds: float) -> dict[str, JsonValue]:
    return {"even_number": 6, "simulate": {"step": step, "sleep_seconds": seconds}}


def completed(orchestration: OrchestrationClient, task_uuid: UUID) -> Task:
    task = orchestration.wait_for_completion(task_uuid, timeout=30)
    assert task.status is TaskStatus.COMPLETED, task.error
    assert (task.completion_percentage, task.result) == (100.0, 6**16)
    return task


def test_two_workers_share_a_namespace_and_run_no_step_twice(
    own: RunningEnvironment,
    orchestration: OrchestrationClient,
    worker: WorkerClient,
    one_completed_attempt_each: OneAttemptEach,
) -> None:
    # More sleeping steps than one worker takes at a time: the other one has to join in.
    count = 4 * max(found.concurrency for found in worker.list_workers())
    created = [orchestration.create_task(*LINEAR, sleeping("square_1", 0.2)).task_uuid for _ in range(count)]
    tasks = [completed(orchestration, task_uuid) for task_uuid in created]
    assert {step.attempts for task in tasks for step in task.steps} == {1}

    one_completed_attempt_each(own, created)
    with own.postgres() as connection:
        attempts = dict(
            connection.execute(
                "SELECT a.worker_id, count(*) FROM step_attempts a JOIN steps s USING (step_uuid)"
                " WHERE s.task_uuid = ANY (%s) GROUP BY 1",
                (created,),
            ).fetchall()
        )
    assert set(attempts) == set(SERVICE_OF)
    assert sum(attempts.values()) == 4 * count
    for worker_id, number in attempts.items():
        page = worker.list_steps(worker=worker_id, namespace=LINEAR[0], status=StepStatus.COMPLETED, limit=200)
        assert len([step for step in page.steps if step.task_uuid in created]) == number


def test_a_worker_killed_in_a_step_is_replaced_and_the_task_completes(
    own: RunningEnvironment,
    orchestration: OrchestrationClient,
    worker: WorkerClient,
    once_running: OnceRunning,
    one_completed_attempt_each: OneAttemptEach,
) -> None:
    # The one whose API is not published: the other answers for it.
    worker.pause("integration-worker")
    created = orchestration.create_task(*LINEAR, sleeping("square_2", 20))
    killed = once_running(orchestration, created.task_uuid, "square_2").worker_id
    assert killed == "integration-worker-2"
    worker.resume("integration-worker")
    own.service(SERVICE_OF[killed]).kill()

    step = completed(orchestration, created.task_uuid).step("square_2")
    assert [(a.worker_id, a.outcome) for a in step.history] == [
        ("integration-worker-2", "lost"),
        ("integration-worker", "completed"),
    ]
    assert (step.attempts, step.lost_leases) == (2, 1)
    one_completed_attempt_each(own, [created.task_uuid])


def test_a_killed_worker_is_reported_lost_and_returns(
    own: RunningEnvironment, worker: WorkerClient, eventually: Eventually
) -> None:
    own.service("worker-2").kill()
    eventually(
        "the killed worker reported lost",
        lambda: worker.get_worker_status("integration-worker-2").status is WorkerStatus.LOST,
        timeout=15,
    )
    health = worker.worker_health("integration-worker-2")
    assert not health.healthy
    assert health.reason
    assert worker.worker_health("integration-worker").healthy
    own.service("worker-2").start()
    own.service("worker-2").wait_ready(30)
    eventually("it is back", lambda: active(worker) == set(SERVICE_OF))


def test_all_workers_killed_in_a_step_and_started_again_complete_the_task(
    own: RunningEnvironment,
    orchestration: OrchestrationClient,
    once_running: OnceRunning,
    one_completed_attempt_each: OneAttemptEach,
) -> None:
    created = orchestration.create_task(*LINEAR, sleeping("square_3", 20))
    once_running(orchestration, created.task_uuid, "square_3")
    for service in SERVICE_OF.values():
        own.service(service).kill()
    assert orchestration.get_task(created.task_uuid).status is TaskStatus.IN_PROGRESS
    own.service("worker").start()
    assert [attempt.outcome for attempt in completed(orchestration, created.task_uuid).step("square_3").history] == [
        "lost",
        "completed",
    ]
    one_completed_attempt_each(own, [created.task_uuid])


@pytest.mark.parametrize("how", ["restart", "kill"])
def test_postgresql_restarted_in_a_step_and_the_task_completes(
    own: RunningEnvironment,
    orchestration: OrchestrationClient,
    once_running: OnceRunning,
    one_completed_attempt_each: OneAttemptEach,
    how: str,
) -> None:
    created = orchestration.create_task(*LINEAR, sleeping("square_2", 1))
    once_running(orchestration, created.task_uuid, "square_2")
    postgres = own.service("postgres")
    if how == "restart":
        postgres.restart()
    else:
        postgres.kill()
        postgres.start()
    completed(orchestration, created.task_uuid)
    postgres.wait_ready(30)
    one_completed_attempt_each(own, [created.task_uuid])


def test_without_its_database_the_system_says_so_and_recovers(
    own: RunningEnvironment, orchestration: OrchestrationClient, worker: WorkerClient, eventually: Eventually
) -> None:
    own.service("postgres").stop()
    ill = eventually("unhealthy", lambda: None if (health := orchestration.health()).healthy else health)
    assert ill.checks["database"].status == "down"
    assert ill.checks["database"].error
    with pytest.raises(UnavailableError) as refused:
        orchestration.create_task(*LINEAR, {"even_number": 6})
    assert (refused.value.status_code, refused.value.code) == (503, "unavailable")
    with pytest.raises(UnavailableError):
        worker.list_workers()

    own.service("postgres").start()
    own.service("postgres").wait_ready(30)
    eventually("healthy again", lambda: orchestration.health().healthy and worker.health().healthy)
    completed(orchestration, orchestration.create_task(*LINEAR, {"even_number": 6}).task_uuid)
    assert own.service("orchestration").state() == "running"


def test_a_paused_worker_takes_nothing_until_it_is_resumed(
    orchestration: OrchestrationClient, worker: WorkerClient
) -> None:
    assert worker.pause("integration-worker").status is WorkerStatus.PAUSED
    assert worker.pause("integration-worker").status is WorkerStatus.PAUSED
    created = [orchestration.create_task(*LINEAR, {"even_number": 6}).task_uuid for _ in range(8)]
    for task_uuid in created:
        steps = completed(orchestration, task_uuid).steps
        assert {step.worker_id for step in steps} == {"integration-worker-2"}

    worker.pause("integration-worker-2")
    waiting = orchestration.create_task(*LINEAR, {"even_number": 6})
    assert worker.resume("integration-worker").status is WorkerStatus.ACTIVE
    steps = completed(orchestration, waiting.task_uuid).steps
    assert {step.worker_id for step in steps} == {"integration-worker"}


def test_a_paused_worker_stays_paused_when_its_process_restarts(
    own: RunningEnvironment, worker: WorkerClient, eventually: Eventually
) -> None:
    before = worker.pause("integration-worker-2").started_at
    own.service("worker-2").restart()
    own.service("worker-2").wait_ready(30)
    again = eventually(
        "the new process registered",
        lambda: found if (found := worker.get_worker_status("integration-worker-2")).started_at > before else None,
    )
    assert again.status is WorkerStatus.PAUSED


def test_a_draining_worker_finishes_what_it_runs_and_takes_nothing_more(
    own: RunningEnvironment,
    orchestration: OrchestrationClient,
    worker: WorkerClient,
    once_running: OnceRunning,
    eventually: Eventually,
) -> None:
    worker.pause("integration-worker")
    created = orchestration.create_task(*LINEAR, sleeping("square_1", 1))
    once_running(orchestration, created.task_uuid, "square_1")
    assert worker.drain("integration-worker-2").status is WorkerStatus.DRAINING
    worker.resume("integration-worker")

    steps = completed(orchestration, created.task_uuid).steps
    assert [step.attempts for step in steps] == [1, 1, 1, 1]
    assert [step.worker_id for step in steps] == ["integration-worker-2", *["integration-worker"] * 3]
    assert worker.get_worker_status("integration-worker-2").status is WorkerStatus.DRAINED

    own.service("worker-2").restart()
    own.service("worker-2").wait_ready(30)
    eventually("a drained worker starts anew as active", lambda: active(worker) == set(SERVICE_OF))


def test_two_environments_share_nothing(
    own: RunningEnvironment, environment: RunningEnvironment, orchestration: OrchestrationClient
) -> None:
    assert own.outputs.stack != environment.outputs.stack
    for service in ("postgres", "orchestration", "worker"):
        name = "postgres" if service == "postgres" else "http"
        assert own.endpoint(service, name).url != environment.endpoint(service, name).url
        assert own.outputs.service(service).container != environment.outputs.service(service).container
    passwords = {e.outputs.service("postgres").credentials["password"].get_secret_value() for e in (own, environment)}
    assert len(passwords) == 2

    with (
        OrchestrationClient(str(environment.endpoint("orchestration").url)) as other,
        WorkerClient(str(environment.endpoint("worker").url)) as other_worker,
    ):
        key = f"key-{uuid4()}"
        mine = orchestration.create_task(*LINEAR, {"even_number": 6}, idempotency_key=key)
        theirs = other.create_task(*LINEAR, {"even_number": 6}, idempotency_key=key)
        assert mine.task_uuid != theirs.task_uuid
        completed(orchestration, mine.task_uuid)
        completed(other, theirs.task_uuid)
        for client, foreign in ((other, mine), (orchestration, theirs)):
            with pytest.raises(NotFoundError):
                client.get_task(foreign.task_uuid)
            assert foreign.task_uuid not in {task.task_uuid for task in client.list_tasks(limit=200).tasks}
        assert "integration-worker-2" not in {found.worker_id for found in other_worker.list_workers()}
