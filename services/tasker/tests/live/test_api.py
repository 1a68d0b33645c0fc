"""The two APIs as WIRE.md describes them: refusals, idempotency, pages, cancelling, workers."""

import json
import uuid
from typing import Any

import pytest
from chassis.testing import keeps_its_word, wait_until
from live.harness import Tasker, steps

LINEAR = {"namespace": "linear_workflow", "name": "mathematical_sequence", "context": {"even_number": 6}}


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        ({**LINEAR, "namespace": "nope"}, 404, "unknown_namespace", "namespace"),
        ({**LINEAR, "name": "nope"}, 404, "unknown_template", "name"),
        ({**LINEAR, "context": {"even_number": 7}}, 422, "invalid_context", "context.even_number"),
        ({**LINEAR, "context": {"even_number": 6.0}}, 422, "invalid_context", "context.even_number"),
        ({**LINEAR, "context": {"even_number": True}}, 422, "invalid_context", "context.even_number"),
        ({**LINEAR, "context": {}}, 422, "invalid_context", "context.even_number"),
        ({**LINEAR, "context": {"even_number": 6, "\ud800": 1}}, 422, "invalid_context", "context"),
        ({**LINEAR, "context": [6]}, 422, "invalid_request", "context"),
        ({**LINEAR, "namespace": "a\x00b"}, 404, "unknown_namespace", "namespace"),
        ({**LINEAR, "priority": 1}, 422, "invalid_request", "priority"),
        ({**LINEAR, "idempotency_key": "a\nb"}, 422, "invalid_request", "idempotency_key"),
        ({"namespace": "linear_workflow", "name": "mathematical_sequence"}, 422, "invalid_request", "context"),
        ([], 422, "invalid_request", "body"),
    ],
)
def test_a_bad_task_is_refused_by_name(shared: Tasker, body: Any, status: int, code: str, field: str) -> None:
    answer = shared.http.post("/v1/tasks", content=json.dumps(body), headers={"Content-Type": "application/json"})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["field"]) == (status, code, field), answer.text
    assert error["message"]


def test_unknown_names_list_the_known_ones(shared: Tasker) -> None:
    error = shared.http.post("/v1/tasks", json={**LINEAR, "namespace": "nope"}).json()["error"]
    assert "linear_workflow" in error["known"]
    assert "linear_workflow" in error["message"]


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [(b"{", 400, "bad_request"), (b"1" * 5000, 400, "bad_request"), (b'"' + b"a" * 300_000 + b'"', 413, "too_large")],
)
def test_a_body_that_is_no_json_or_too_large(shared: Tasker, content: bytes, status: int, code: str) -> None:
    answer = shared.http.post("/v1/tasks", content=content, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", f"/v1/tasks/{uuid.uuid4()}", 404, "not_found"),
        ("POST", f"/v1/tasks/{uuid.uuid4()}/cancel", 404, "not_found"),
        ("GET", "/v1/tasks/seven", 422, "invalid_request"),
        ("GET", "/v1/tasks?limit=0", 422, "invalid_request"),
        ("GET", "/v1/tasks?limit=201", 422, "invalid_request"),
        ("GET", "/v1/tasks?cursor=x", 422, "invalid_request"),
        ("GET", "/v1/tasks?status=done", 422, "invalid_request"),
        ("GET", "/v1/tasks?namespace=%00", 404, "unknown_namespace"),
        ("GET", "/v1/tasks?name=%00", 422, "invalid_request"),
        ("GET", "/v1/templates?namespace=nope", 404, "unknown_namespace"),
        ("GET", "/v1/inventory/%00", 404, "not_found"),
        ("GET", "/v1/payments", 422, "invalid_request"),
        ("GET", "/nope", 404, "not_found"),
        ("DELETE", "/v1/tasks", 405, "method_not_allowed"),
    ],
)
def test_refusals_have_one_shape(shared: Tasker, method: str, path: str, status: int, code: str) -> None:
    answer = shared.http.request(method, path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_an_idempotency_key_returns_the_first_task(shared: Tasker) -> None:
    key = str(uuid.uuid4())
    first = shared.http.post("/v1/tasks", json=LINEAR, headers={"Idempotency-Key": key})
    again = shared.http.post("/v1/tasks", json={**LINEAR, "idempotency_key": key})
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.headers["Location"] == f"/v1/tasks/{first.json()['task_uuid']}"
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json()["task_uuid"] == first.json()["task_uuid"]
    assert again.json()["idempotency_key"] == key

    other = shared.http.post("/v1/tasks", json={**LINEAR, "context": {"even_number": 8}, "idempotency_key": key})
    assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_conflict")
    both = shared.http.post("/v1/tasks", json={**LINEAR, "idempotency_key": key}, headers={"Idempotency-Key": "b"})
    assert both.status_code == 422


def test_pages_hold_every_task_once_newest_first(tasker: Tasker) -> None:
    made = [tasker.create("linear_workflow", {"even_number": 2 * n})["task_uuid"] for n in range(7)]
    tasker.create("diamond_workflow", {"even_number": 2})
    found: list[str] = []
    cursor = ""
    for _ in range(4):
        query = f"namespace=linear_workflow&status=pending&limit=3{cursor}"
        page = tasker.http.get(f"/v1/tasks?{query}").json()
        found += [task["task_uuid"] for task in page["tasks"]]
        tasker.create("linear_workflow", {"even_number": 2})
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert found == made[::-1]


def test_cancel_before_a_worker_is_there(tasker: Tasker) -> None:
    task = tasker.create("linear_workflow", {"even_number": 2})
    for _ in range(2):
        answer = tasker.http.post(f"/v1/tasks/{task['task_uuid']}/cancel")
        assert (answer.status_code, answer.json()["status"], answer.json()["outcome"]) == (200, "cancelled", None)
    tasker.worker("w1")
    other = tasker.ended(tasker.create("linear_workflow", {"even_number": 2}))
    assert other["status"] == "completed"
    assert all(step["attempts"] == 0 for step in tasker.get(task)["steps"])


def test_cancel_takes_a_running_step_away(shared: Tasker) -> None:
    task = shared.create("linear_workflow", {"even_number": 2, "simulate": {"step": "square_2", "sleep_seconds": 30}})
    worker = shared.running(task, "square_2")["worker_id"]
    cancelled = shared.http.post(f"/v1/tasks/{task['task_uuid']}/cancel").json()
    assert cancelled["status"] == "cancelled"
    assert [step["status"] for step in cancelled["steps"]] == ["completed", "cancelled", "cancelled", "cancelled"]
    api = shared.workers[worker].http
    wait_until(lambda: api.get("/health").json()["running"] == 0, "the worker has given the step up", seconds=10)
    assert shared.get(task)["steps"] == cancelled["steps"]


def test_cancel_undoes_an_order_before_it_is_cancelled(shared: Tasker) -> None:
    context = {
        "order_id": "A-1",
        "customer": {"name": "Ada", "email": "ada@example.com"},
        "items": [{"sku": "GIZMO-1", "quantity": 1}],
        "payment": {"card_token": "tok_4242"},
        "simulate": {"step": "process_payment", "sleep_seconds": 20, "when": "after"},
    }
    task = shared.create("order_fulfillment", context)
    shared.running(task, "process_payment")
    query = {"task_uuid": task["task_uuid"]}
    wait_until(lambda: shared.http.get("/v1/payments", params=query).json()["payments"], "the card is charged")
    answer = shared.http.post(f"/v1/tasks/{task['task_uuid']}/cancel").json()
    assert (answer["status"], answer["outcome"]) == ("in_progress", "cancelled")
    done = shared.ended(task)
    assert (done["status"], done["outcome"], done["error"]) == ("cancelled", None, None)
    assert steps(done)["refund_payment"]["result"] == {"payment": "refunded"}
    assert shared.http.get("/v1/inventory/GIZMO-1").json()["reserved"] == 0


def test_a_finished_task_cannot_be_cancelled(shared: Tasker) -> None:
    task = shared.ended(shared.create("linear_workflow", {"even_number": 2}))
    answer = shared.http.post(f"/v1/tasks/{task['task_uuid']}/cancel")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "task_finished")


def test_a_failing_step_is_retried_and_then_fails_its_task(shared: Tasker) -> None:
    twice = shared.create("linear_workflow", {"even_number": 2, "simulate": {"step": "square_3", "fail_times": 2}})
    always = shared.create("linear_workflow", {"even_number": 2, "simulate": {"step": "square_3", "fail_times": 3}})
    done = shared.ended(twice)
    assert (done["status"], steps(done)["square_3"]["attempts"], steps(done)["square_3"]["error"]) == (
        "completed",
        3,
        None,
    )
    assert [attempt["outcome"] for attempt in steps(done)["square_3"]["history"]] == ["failed", "failed", "completed"]
    failed = shared.ended(always)
    assert (failed["status"], failed["completion_percentage"], failed["result"]) == ("failed", 50.0, None)
    assert failed["error"]["step"] == "square_3"
    assert failed["error"]["attempts"] == 3
    assert "simulated failure 3 of 3" in failed["error"]["message"]
    assert [step["status"] for step in failed["steps"]] == ["completed", "completed", "failed", "cancelled"]


def test_templates_tell_their_steps_and_schema(shared: Tasker) -> None:
    (template,) = shared.http.get("/v1/templates", params={"namespace": "diamond_workflow"}).json()["templates"]
    assert {step["name"]: step["depends_on"] for step in template["steps"]}["merge"] == ["left", "right"]
    assert template["context_schema"]["properties"]["even_number"]["multipleOf"] == 2
    assert len(shared.http.get("/v1/templates").json()["templates"]) == 5


def test_any_worker_answers_about_all_and_steers_all(tasker: Tasker) -> None:
    api = tasker.worker("w1").http
    tasker.worker("w2", TASKER_NAMESPACES="tree_workflow")
    listed = api.get("/v1/workers").json()["workers"]
    assert [(worker["worker_id"], worker["status"]) for worker in listed] == [("w1", "active"), ("w2", "active")]
    assert len(api.get("/v1/workers", params={"namespace": "linear_workflow"}).json()["workers"]) == 1
    assert api.get("/v1/workers/w2/health").json()["healthy"] is True

    paused = [api.post(f"/v1/workers/{worker}/pause") for worker in ("w1", "w2")]
    assert [answer.json()["status"] for answer in paused] == ["paused", "paused"]
    task = tasker.create("tree_workflow", {"even_number": 2})
    tasker.workers["w2"].end()
    tasker.worker("w2", TASKER_NAMESPACES="tree_workflow")
    assert tasker.get(task)["status"] == "pending"
    assert api.post("/v1/workers/w2/resume").json()["status"] == "active"
    done = tasker.ended(task)
    assert {step["worker_id"] for step in done["steps"]} == {"w2"}
    page = api.get("/v1/steps", params={"worker": "w2", "limit": 5}).json()
    assert len(page["steps"]) == 5
    assert len(api.get("/v1/steps", params={"worker": "w2", "cursor": page["next_cursor"]}).json()["steps"]) == 3

    assert api.get("/v1/workers/w3").json()["error"]["code"] == "not_found"
    assert tasker.workers["w2"].end() == 0
    assert api.get("/v1/workers/w2").json()["status"] == "stopped"
    assert api.post("/v1/workers/w2/pause").json()["error"]["code"] == "worker_stopped"


def test_a_drained_worker_ends_what_it_runs_and_takes_nothing_more(tasker: Tasker) -> None:
    api = tasker.worker("w1").http
    task = tasker.create("linear_workflow", {"even_number": 2, "simulate": {"step": "square_1", "sleep_seconds": 0.6}})
    tasker.running(task, "square_1")
    drained = api.post("/v1/workers/w1/drain").json()
    assert (drained["status"], [step["name"] for step in drained["running_steps"]]) == ("draining", ["square_1"])
    wait_until(lambda: api.get("/v1/workers/w1").json()["status"] == "drained", "the worker is drained")
    assert [step["status"] for step in tasker.get(task)["steps"]] == ["completed", "ready", "pending", "pending"]
    api.post("/v1/workers/w1/resume")
    assert tasker.ended(task)["status"] == "completed"


def test_a_worker_without_handlers_is_healthy_and_claims_nothing(tasker: Tasker) -> None:
    base = tasker.worker("base", module="tasker.worker")
    task = tasker.create("linear_workflow", {"even_number": 2})
    tasker.worker("w1")
    assert {step["worker_id"] for step in tasker.ended(task)["steps"]} == {"w1"}
    assert base.http.get("/health").json()["handlers"] == 0


def test_metrics_count_what_happened(shared: Tasker) -> None:
    shared.ended(shared.create("diamond_workflow", {"even_number": 2}))
    orchestration = shared.http.get("/metrics").text
    assert 'tasker_tasks_created_total{name="diamond_pattern",namespace="diamond_workflow"}' in orchestration
    assert 'tasker_tasks{status="completed"}' in orchestration
    assert 'route="/v1/tasks/{task_uuid}"' in orchestration
    workers = "".join(worker.http.get("/metrics").text for worker in shared.workers.values())
    assert 'tasker_steps_finished_total{namespace="diamond_workflow",outcome="completed",step="merge"}' in workers


@pytest.mark.timeout(300)
@pytest.mark.parametrize("service", ["orchestration", "worker"])
def test_their_openapi_documents_are_true(tasker: Tasker, service: str) -> None:
    worker = tasker.worker("w1")
    keeps_its_word(tasker.orchestration.url if service == "orchestration" else worker.url)
