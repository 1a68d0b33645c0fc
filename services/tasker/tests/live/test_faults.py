"""What must not go wrong when something does: killed workers, a database that goes away, bad starts."""

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from chassis.testing import Process, wait_until
from live.harness import LEASE_SECONDS, Tasker, steps
from psycopg import sql

Start = Callable[..., Process]


def slow(sleep_seconds: float = 20, **more: object) -> dict[str, Any]:
    return {"even_number": 6, "simulate": {"step": "square_2", "sleep_seconds": sleep_seconds, **more}}


@contextlib.contextmanager
def database_gone(tasker: Tasker, server_url: str) -> Iterator[None]:
    """No connection lives, and no new one is let in: what a restart looks like from outside."""
    name = sql.Identifier(urlsplit(tasker.database_url).path[1:])
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(name))
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
            (urlsplit(tasker.database_url).path[1:],),
        )
        try:
            yield
        finally:
            connection.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(name))


def test_a_killed_worker_loses_its_step_to_another(tasker: Tasker) -> None:
    tasker.worker("w1")
    task = tasker.create("linear_workflow", slow())
    tasker.running(task, "square_2")
    tasker.worker("w2")
    assert tasker.workers["w1"].end(signal.SIGKILL) == -signal.SIGKILL
    killed = time.monotonic()
    done = tasker.ended(task)
    assert time.monotonic() - killed < LEASE_SECONDS + 2
    assert (done["status"], done["result"]) == ("completed", 6**16)
    step = steps(done)["square_2"]
    assert (step["attempts"], step["lost_leases"], step["worker_id"]) == (2, 1, "w2")
    assert [(a["worker_id"], a["outcome"]) for a in step["history"]] == [("w1", "lost"), ("w2", "completed")]
    api = tasker.workers["w2"].http
    wait_until(lambda: api.get("/v1/workers/w1").json()["status"] == "lost", "w1 counts as lost")
    assert api.get("/v1/workers/w1/health").json()["healthy"] is False


def test_a_worker_that_comes_back_takes_its_step_up_at_once(tasker: Tasker) -> None:
    tasker.worker("w1", TASKER_LEASE_SECONDS="600")
    task = tasker.create("linear_workflow", slow(fail_times=2))
    tasker.running(task, "square_2")
    tasker.workers["w1"].end(signal.SIGKILL)
    tasker.worker("w1", TASKER_LEASE_SECONDS="600")
    step = steps(tasker.ended(task, seconds=10))["square_2"]
    # The lost one does not count against the three attempts that the step has.
    assert [attempt["outcome"] for attempt in step["history"]] == ["lost", "failed", "failed", "completed"]
    assert (step["attempts"], step["lost_leases"], step["max_attempts"]) == (4, 1, 3)


def test_a_stopped_worker_ends_the_step_that_it_runs(tasker: Tasker) -> None:
    tasker.worker("w1", TASKER_DRAIN_SECONDS="20")
    task = tasker.create("linear_workflow", slow(1))
    tasker.running(task, "square_2")
    assert tasker.workers["w1"].end() == 0
    step = steps(tasker.get(task))["square_2"]
    assert (step["status"], step["lost_leases"]) == ("completed", 0)


def test_a_stopped_worker_gives_its_step_back_at_once(tasker: Tasker) -> None:
    tasker.worker("w1", TASKER_LEASE_SECONDS="600", TASKER_DRAIN_SECONDS="0.2")
    task = tasker.create("linear_workflow", slow())
    tasker.running(task, "square_2")
    tasker.worker("w2")
    assert tasker.workers["w1"].end() == 0
    assert steps(tasker.ended(task, seconds=5))["square_2"]["worker_id"] == "w2"


LOST = 'tasker_steps_finished_total{namespace="linear_workflow",outcome="lost",step="square_2"} 1.0'


def test_a_frozen_worker_cannot_finish_what_another_took_over(tasker: Tasker) -> None:
    api = tasker.worker("w1").http
    task = tasker.create("linear_workflow", slow(1))
    tasker.running(task, "square_2")
    tasker.workers["w1"].popen.send_signal(signal.SIGSTOP)
    tasker.worker("w2")
    done = tasker.ended(task)
    tasker.workers["w1"].popen.send_signal(signal.SIGCONT)
    wait_until(lambda: LOST in api.get("/metrics").text, "the frozen worker has seen that it lost the step")
    assert tasker.get(task) == done
    assert steps(done)["square_2"]["worker_id"] == "w2"


def test_a_frozen_worker_cannot_finish_what_another_is_still_running(tasker: Tasker) -> None:
    # A heartbeat must not be the first to find it out: a lease that long has its first one after this test.
    api = tasker.worker("w1", TASKER_LEASE_SECONDS="600").http
    task = tasker.create("linear_workflow", slow(1.5))
    tasker.running(task, "square_2")
    with psycopg.connect(tasker.database_url) as connection:
        connection.execute(
            "UPDATE steps SET attempts = 2, worker_id = 'other', lease_holder = gen_random_uuid()"
            " WHERE name = 'square_2'"
        )
    wait_until(lambda: LOST in api.get("/metrics").text, "the worker has seen that it lost the step")
    step = steps(tasker.get(task))["square_2"]
    assert (step["status"], step["attempts"], step["worker_id"], step["result"]) == ("in_progress", 2, "other", None)


def test_a_claim_whose_answer_was_lost_runs_out(tasker: Tasker) -> None:
    api = tasker.worker("w1").http
    api.post("/v1/workers/w1/pause")
    task = tasker.create("linear_workflow", {"even_number": 6})
    with psycopg.connect(tasker.database_url) as connection:
        connection.execute(
            "UPDATE steps SET status = 'in_progress', attempts = 1, lease_expires_at = now() + interval '1 second',"
            " worker_id = 'w1', lease_holder = (SELECT incarnation FROM workers) WHERE name = 'square_1'"
        )
    api.post("/v1/workers/w1/resume")
    done = tasker.ended(task, seconds=10)
    assert (done["status"], steps(done)["square_1"]["lost_leases"]) == ("completed", 1)


def test_a_step_that_loses_every_worker_fails_its_task(tasker: Tasker) -> None:
    tasker.worker("w1")
    task = tasker.create("linear_workflow", slow())
    tasker.running(task, "square_2")
    tasker.workers["w1"].end(signal.SIGKILL)
    with psycopg.connect(tasker.database_url) as connection:
        connection.execute("UPDATE steps SET lost_leases = max_lost_leases WHERE name = 'square_2'")
    done = tasker.ended(task)
    assert (done["status"], done["error"]["code"], done["error"]["step"]) == ("failed", "worker_lost", "square_2")


@pytest.mark.parametrize("when", ["before", "after"])
def test_the_database_goes_away_during_a_step(tasker: Tasker, server_url: str, when: str) -> None:
    tasker.worker("w1")
    tasker.worker("w2")
    task = tasker.create("linear_workflow", slow(2.5, when=when))
    tasker.running(task, "square_2")
    with database_gone(tasker, server_url):
        answer = tasker.http.get(f"/v1/tasks/{task['task_uuid']}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
        assert tasker.http.get("/health").json()["checks"]["database"]["status"] == "down"
        assert tasker.http.get("/metrics").status_code == 200
    processes = [tasker.orchestration, *tasker.workers.values()]
    wait_until(lambda: all(process.healthy() for process in processes), "all are healthy again")
    done = tasker.ended(task)
    assert (done["status"], done["result"]) == ("completed", 6**16)
    # Work is announced again, not only found by looking now and then.
    quick = tasker.ended(tasker.create("linear_workflow", {"even_number": 2}), seconds=1)
    assert quick["status"] == "completed"


def test_both_services_stop_with_status_0(tasker: Tasker) -> None:
    assert tasker.worker("w1").end() == 0
    assert tasker.orchestration.end() == 0


def test_a_second_process_under_one_id_puts_the_first_out_of_work(tasker: Tasker) -> None:
    first = tasker.worker("w1")
    tasker.worker("w1")
    wait_until(lambda: first.http.get("/health").status_code == 503, "the first one says that it is superseded")
    assert "another process" in first.http.get("/health").json()["checks"]["engine"]["error"]
    assert tasker.ended(tasker.create("linear_workflow", {"even_number": 2}))["status"] == "completed"


def test_orchestrations_that_start_together_migrate_once(database_url: str, start: Start) -> None:
    for process in [start("tasker.orchestration", DATABASE_URL=database_url) for _ in range(3)]:
        wait_until(process.healthy, "orchestration is healthy")
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT version FROM schema_migrations ORDER BY 1").fetchall() == [(1,), (2,), (3,)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("UPDATE schema_migrations SET digest = 'x' WHERE version = 2", "was applied with another text"),
        ("INSERT INTO schema_migrations VALUES (99, 'later', 'x')", "the database has schema version 99"),
    ],
)
def test_a_schema_that_is_not_ours_is_refused(tasker: Tasker, start: Start, change: str, message: str) -> None:
    with psycopg.connect(tasker.database_url) as connection:
        connection.execute(change)
    process = start("tasker.orchestration", DATABASE_URL=tasker.database_url)
    assert process.ended() == 1
    assert message in process.log.read_text()


def test_test_mode_is_off_unless_asked_for(database_url: str, start: Start) -> None:
    process = start("tasker.orchestration", DATABASE_URL=database_url)
    wait_until(process.healthy, "orchestration is healthy")
    body = {"namespace": "linear_workflow", "name": "mathematical_sequence", "context": slow()}
    answer = process.http.post("/v1/tasks", json=body)
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, "context.simulate")


def test_a_bad_environment_is_told_in_one_line(start: Start) -> None:
    process = start("tasker.orchestration", DATABASE_URL="mysql://db")
    assert process.ended() == 2
    assert process.log.read_text().startswith("bad environment: DATABASE_URL")
    assert len(process.log.read_text().splitlines()) == 1


def test_a_start_without_its_neighbours_says_which_one(tasker: Tasker, start: Start) -> None:
    nowhere = {"DATABASE_URL": "postgresql://u@127.0.0.1:1/d", "TASKER_START_TIMEOUT_SECONDS": "0.5"}
    lost = start("tasker.orchestration", **nowhere)
    alone = start("tasker.integration_worker", TASKER_ORCHESTRATION_URL="http://127.0.0.1:1", **nowhere)
    stray = start(
        "tasker.integration_worker",
        DATABASE_URL=tasker.database_url,
        TASKER_ORCHESTRATION_URL=tasker.orchestration.url,
        TASKER_NAMESPACES="nope",
    )
    for process, message in (
        (lost, "PostgreSQL (DATABASE_URL) could not be used within 0.5 s"),
        (alone, "orchestration at http://127.0.0.1:1 (TASKER_ORCHESTRATION_URL) could not be used within 0.5 s"),
        (stray, "TASKER_NAMESPACES names nope"),
    ):
        assert process.ended() == 1
        assert message in process.log.read_text()
        assert "Traceback" not in process.log.read_text()
