"""The orchestration API: what it refuses and how it says so, idempotency, lists, health, metrics, OpenAPI."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
from pydantic import JsonValue
from tasker_client import ConflictError, NotFoundError, OrchestrationClient, RejectedError, TaskStatus

if TYPE_CHECKING:
    from ephemera.pytest_plugin.environments import RunningEnvironment

pytestmark = pytest.mark.timeout(60, func_only=True)

NAMESPACES = {
    "linear_workflow": "mathematical_sequence",
    "diamond_workflow": "diamond_pattern",
    "tree_workflow": "hierarchical_tree",
    "mixed_dag_workflow": "complex_dag",
    "order_fulfillment": "business_workflow",
}
LINEAR = ("linear_workflow", "mathematical_sequence")


def test_an_unknown_namespace_is_refused_with_those_that_exist(orchestration: OrchestrationClient) -> None:
    with pytest.raises(NotFoundError) as refused:
        orchestration.create_task("linear", "mathematical_sequence", {"even_number": 6})
    assert (refused.value.status_code, refused.value.code) == (404, "unknown_namespace")
    assert set(refused.value.known) == set(NAMESPACES)
    assert all(name in refused.value.message for name in ("'linear'", *NAMESPACES))


def test_an_unknown_template_is_refused_with_those_that_exist(orchestration: OrchestrationClient) -> None:
    with pytest.raises(NotFoundError) as refused:
        orchestration.create_task("linear_workflow", "sequence", {"even_number": 6})
    assert (refused.value.status_code, refused.value.code) == (404, "unknown_template")
    assert refused.value.known == ("mathematical_sequence",)
    assert all(name in refused.value.message for name in ("'sequence'", "mathematical_sequence"))


def test_a_task_that_is_not_there_is_named(orchestration: OrchestrationClient) -> None:
    missing = uuid4()
    with pytest.raises(NotFoundError, match=str(missing)) as refused:
        orchestration.get_task(missing)
    assert refused.value.code == "not_found"


@pytest.mark.parametrize("namespace", [name for name in NAMESPACES if name != "order_fulfillment"])
@pytest.mark.parametrize(
    "context",
    [
        pytest.param({"even_number": 7}, id="odd"),
        pytest.param({"even_number": 6.0}, id="float"),
        pytest.param({"even_number": "6"}, id="string"),
        pytest.param({"even_number": True}, id="bool"),
        pytest.param({"even_number": None}, id="null"),
        pytest.param({"even_number": [6]}, id="list"),
        pytest.param({"even_number": 10**6 + 2}, id="too large"),
        pytest.param({"even_number": -(10**6) - 2}, id="too small"),
        pytest.param({"even_number": 10**40}, id="far too large"),
        pytest.param({}, id="missing"),
    ],
)
def test_a_bad_even_number_is_refused_by_name(
    orchestration: OrchestrationClient, namespace: str, context: dict[str, JsonValue]
) -> None:
    with pytest.raises(RejectedError) as refused:
        orchestration.create_task(namespace, NAMESPACES[namespace], context)
    assert (refused.value.status_code, refused.value.code) == (422, "invalid_context")
    assert refused.value.field == "context.even_number"
    assert "even_number" in refused.value.message


def test_an_unknown_field_of_the_context_is_refused_by_name(orchestration: OrchestrationClient) -> None:
    with pytest.raises(RejectedError) as refused:
        orchestration.create_task(*LINEAR, {"even_number": 6, "evennumber": 6})
    assert (refused.value.status_code, refused.value.field) == (422, "context.evennumber")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"order_id": ""}, "context.order_id"),
        ({"customer": {"name": "Ada"}}, "context.customer.email"),
        ({"items": []}, "context.items"),
        ({"items": [{"sku": "WIDGET-1", "quantity": 0}]}, "context.items.0.quantity"),
        ({"payment": {"card_token": "4242424242424242"}}, "context.payment.card_token"),
        ({"gift": True}, "context.gift"),
    ],
)
def test_a_bad_order_is_refused_by_the_path_of_its_field(
    orchestration: OrchestrationClient,
    order: Callable[..., dict[str, JsonValue]],
    change: dict[str, JsonValue],
    field: str,
) -> None:
    with pytest.raises(RejectedError) as refused:
        orchestration.create_task("order_fulfillment", "business_workflow", order("WIDGET-1", 1) | change)
    assert (refused.value.status_code, refused.value.field) == (422, field)


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b"{nonsense", 400, None),
        (b"[]", 422, None),
        (b'{"name": "mathematical_sequence", "context": {"even_number": 6}}', 422, "namespace"),
        (b'{"namespace": "linear_workflow", "name": "mathematical_sequence"}', 422, "context"),
        (
            b'{"namespace": "linear_workflow", "name": "mathematical_sequence", "context": {"even_number": 6}, "x": 1}',
            422,
            "x",
        ),
    ],
)
def test_a_bad_request_has_one_error_of_the_same_shape(
    environment: RunningEnvironment, body: bytes, status: int, field: str | None
) -> None:
    with environment.http("orchestration") as http:
        response = http.post("/v1/tasks", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == status
    error = response.json()["error"]
    assert error["code"]
    assert error["message"]
    if field is not None:
        assert error["field"] == field


def test_the_same_key_gives_the_first_task_again(
    environment: RunningEnvironment, orchestration: OrchestrationClient
) -> None:
    key = f"key-{uuid4()}"
    first = orchestration.create_task(*LINEAR, {"even_number": 6}, idempotency_key=key)
    again = orchestration.create_task(*LINEAR, {"even_number": 6}, idempotency_key=key)
    assert again.task_uuid == first.task_uuid
    assert again.idempotency_key == key

    body = {"namespace": LINEAR[0], "name": LINEAR[1], "context": {"even_number": 6}, "idempotency_key": key}
    with environment.http("orchestration") as http:
        replayed = http.post("/v1/tasks", json=body)
        fresh = http.post("/v1/tasks", json=body | {"idempotency_key": f"key-{uuid4()}"})
    assert (replayed.status_code, replayed.headers.get("Idempotent-Replayed")) == (200, "true")
    assert replayed.json()["task_uuid"] == str(first.task_uuid)
    assert (fresh.status_code, fresh.headers.get("Idempotent-Replayed")) == (201, None)
    assert fresh.headers["Location"] == f"/v1/tasks/{fresh.json()['task_uuid']}"


def test_a_key_used_for_something_else_is_a_conflict(orchestration: OrchestrationClient) -> None:
    key = f"key-{uuid4()}"
    orchestration.create_task(*LINEAR, {"even_number": 6}, idempotency_key=key)
    with pytest.raises(ConflictError) as refused:
        orchestration.create_task(*LINEAR, {"even_number": 8}, idempotency_key=key)
    assert (refused.value.status_code, refused.value.code) == (409, "idempotency_conflict")


def test_one_key_sent_by_many_at_once_makes_one_task(
    environment: RunningEnvironment, orchestration: OrchestrationClient
) -> None:
    key = f"key-{uuid4()}"

    def create(_: int) -> UUID:
        return orchestration.create_task(*LINEAR, {"even_number": 6}, idempotency_key=key).task_uuid

    with ThreadPoolExecutor(8) as threads:
        created = set(threads.map(create, range(16)))
    assert len(created) == 1
    with environment.postgres() as connection:
        row = connection.execute("SELECT count(*) FROM tasks WHERE idempotency_key = %s", (key,)).fetchone()
    assert row == (1,)


def test_pages_hold_every_task_once_newest_first(orchestration: OrchestrationClient) -> None:
    mine = [
        orchestration.create_task("tree_workflow", "hierarchical_tree", {"even_number": 2}).task_uuid for _ in range(7)
    ]
    seen: list[UUID] = []
    cursor: str | None = None
    while not set(mine) <= set(seen):
        page = orchestration.list_tasks(namespace="tree_workflow", limit=3, cursor=cursor)
        assert 1 <= len(page.tasks) <= 3
        assert {task.namespace for task in page.tasks} == {"tree_workflow"}
        seen += [task.task_uuid for task in page.tasks]
        cursor = page.next_cursor
        assert cursor is not None or set(mine) <= set(seen)
    assert len(seen) == len(set(seen))
    assert [task_uuid for task_uuid in seen if task_uuid in mine] == mine[::-1]


def test_lists_are_filtered_by_status_and_name(orchestration: OrchestrationClient) -> None:
    done = orchestration.create_task("diamond_workflow", "diamond_pattern", {"even_number": 2})
    orchestration.wait_for_completion(done.task_uuid)
    completed = orchestration.list_tasks(
        namespace="diamond_workflow", name="diamond_pattern", status=TaskStatus.COMPLETED, limit=200
    )
    assert {task.status for task in completed.tasks} == {TaskStatus.COMPLETED}
    assert done.task_uuid in {task.task_uuid for task in completed.tasks}
    failed = orchestration.list_tasks(namespace="diamond_workflow", status="failed", limit=200)
    assert done.task_uuid not in {task.task_uuid for task in failed.tasks}
    assert orchestration.list_tasks(namespace="diamond_workflow", name="no_such_name").tasks == ()


@pytest.mark.parametrize(
    ("query", "status", "field"),
    [
        ("limit=0", 422, "limit"),
        ("limit=201", 422, "limit"),
        ("limit=many", 422, "limit"),
        ("status=done", 422, "status"),
        ("cursor=nonsense", 422, "cursor"),
        ("namespace=nowhere", 404, "namespace"),
    ],
)
def test_a_bad_filter_is_refused_by_name(environment: RunningEnvironment, query: str, status: int, field: str) -> None:
    with environment.http("orchestration") as http:
        response = http.get(f"/v1/tasks?{query}")
    assert response.status_code == status
    assert response.json()["error"]["field"] == field


def test_namespaces_and_templates_are_the_five_workflows(orchestration: OrchestrationClient) -> None:
    assert {n.name: n.templates for n in orchestration.list_namespaces()} == {n: (t,) for n, t in NAMESPACES.items()}
    templates = orchestration.list_templates()
    assert {template.namespace: template.name for template in templates} == NAMESPACES
    mathematics = [template for template in templates if template.namespace != "order_fulfillment"]
    assert all(template.context_schema["required"] == ["even_number"] for template in mathematics)


def test_health_looks_at_the_database(orchestration: OrchestrationClient) -> None:
    health = orchestration.health()
    assert (health.status, health.service, health.test_mode) == ("healthy", "orchestration", True)
    assert health.checks["database"].status == "up"
    assert health.uptime_seconds > 0


def test_metrics_count_created_tasks(environment: RunningEnvironment, orchestration: OrchestrationClient) -> None:
    series = re.compile(
        r'^tasker_tasks_created_total\{name="complex_dag",namespace="mixed_dag_workflow"\} ([0-9.e+]+)$', re.MULTILINE
    )
    with environment.http("orchestration") as http:

        def count() -> float:
            found = series.search(http.get("/metrics").text)
            return float(found[1]) if found else 0.0

        before = count()
        orchestration.create_task("mixed_dag_workflow", "complex_dag", {"even_number": 2})
        assert count() >= before + 1
        text = http.get("/metrics").text
    for metric in ("tasker_tasks{", "tasker_steps{", "tasker_http_requests_total{", "tasker_http_request_seconds_"):
        assert metric in text


@pytest.mark.parametrize(
    ("service", "paths"),
    [
        ("orchestration", {"/v1/tasks", "/v1/tasks/{task_uuid}", "/v1/tasks/{task_uuid}/cancel", "/v1/namespaces"}),
        ("worker", {"/v1/workers", "/v1/workers/{worker_id}", "/v1/workers/{worker_id}/health", "/v1/steps"}),
    ],
)
def test_openapi_describes_the_api(environment: RunningEnvironment, service: str, paths: set[str]) -> None:
    with environment.http(service) as http:
        document: Any = http.get("/openapi.json").json()
    assert document["openapi"].startswith("3.")
    assert paths | {"/health"} <= set(document["paths"])
