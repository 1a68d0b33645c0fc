"""Reset instead of rebuild: tasks go, what migrations made stays, orchestration and worker run on as if nothing was."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from pydantic import JsonValue
from tasker_client import NotFoundError, OrchestrationClient, TaskStatus

if TYPE_CHECKING:
    from ephemera.pytest_plugin.environments import EnvironmentFactory, RunningEnvironment

pytestmark = pytest.mark.timeout(120, func_only=True)

SERVICES = ("postgres", "orchestration", "worker")
WITHIN_SECONDS = 30


def _started(environment: RunningEnvironment) -> list[str]:
    return [environment.service(name).inspect()["State"]["StartedAt"] for name in SERVICES]


def _placed(client: OrchestrationClient, context: dict[str, JsonValue]) -> UUID:
    created = client.create_task("order_fulfillment", "business_workflow", context)
    task = client.wait_for_completion(created.task_uuid, timeout=WITHIN_SECONDS)
    assert task.status is TaskStatus.COMPLETED, task.error
    return created.task_uuid


def test_services_go_on_after_a_reset(
    environment_factory: EnvironmentFactory, order: Callable[..., dict[str, JsonValue]]
) -> None:
    own = environment_factory()
    started = _started(own)
    with OrchestrationClient(str(own.endpoint("orchestration").url)) as client:
        stock = client.get_product("GADGET-1")
        for _ in range(3):
            done = _placed(client, order("GADGET-1", 2))
            assert client.get_product("GADGET-1") != stock
            # One that a worker is at when it goes: nobody is to stumble over it.
            client.create_task("linear_workflow", "mathematical_sequence", {"even_number": 6})
            own.reset()
            assert client.get_product("GADGET-1") == stock
            with pytest.raises(NotFoundError):
                client.get_task(done)
        _placed(client, order("GADGET-1", 2))
    assert _started(own) == started
    for name in SERVICES:
        lines = own.service(name).logs().splitlines()
        assert [line for line in lines if '"level": "error"' in line.lower() or "ERROR:" in line] == []


def test_own_database_has_the_schema_and_what_migrations_put_there(environment: RunningEnvironment) -> None:
    client = environment.database().connect()
    assert client.execute("SELECT count(*) > 0 FROM products").fetchone() == (True,)
    assert client.execute("SELECT count(*) FROM tasks").fetchone() == (0,)
    client.execute("DELETE FROM products")
    assert environment.postgres().execute("SELECT count(*) > 0 FROM products").fetchone() == (True,)
