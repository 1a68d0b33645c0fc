"""The installed ``tasker-cli`` against the live stack: each command, as a table and as JSON, and its exit codes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
from tasker_client import OrchestrationClient, Step, TaskStatus

if TYPE_CHECKING:
    from ephemera.pytest_plugin.environments import RunningEnvironment

pytestmark = pytest.mark.timeout(60, func_only=True)

Cli = Callable[..., subprocess.CompletedProcess[str]]

WORKER = "integration-worker"
CREATE = ("task", "create", "--namespace", "linear_workflow", "--name", "mathematical_sequence", "--input")


def document(cli: Cli, *arguments: str) -> Any:
    done = cli(*arguments, "--output", "json")
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def table(cli: Cli, *arguments: str) -> str:
    done = cli(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    with pytest.raises(ValueError, match="Expecting"):
        json.loads(done.stdout)
    return done.stdout


def refusal(cli: Cli, *arguments: str, code: int, **variables: str) -> str:
    done = cli(*arguments, **variables)
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("tasker-cli: ")
    return line


@pytest.fixture
def finished(orchestration: OrchestrationClient) -> str:
    """A completed task: 6 to the 16th."""
    created = orchestration.create_task("linear_workflow", "mathematical_sequence", {"even_number": 6})
    assert orchestration.wait_for_completion(created.task_uuid).status is TaskStatus.COMPLETED
    return str(created.task_uuid)


def test_task_create(cli: Cli, orchestration: OrchestrationClient) -> None:
    created = document(cli, *CREATE, '{"even_number": 8}')
    assert orchestration.wait_for_completion(created["task_uuid"]).result == 8**16
    assert "linear_workflow/mathematical_sequence" in table(cli, *CREATE, '{"even_number": 8}')


def test_task_create_with_a_key_gives_the_first_task(cli: Cli) -> None:
    arguments = (*CREATE, '{"even_number": 8}', "--idempotency-key", f"cli-{uuid4()}")
    assert document(cli, *arguments)["task_uuid"] == document(cli, *arguments)["task_uuid"]


def test_task_get(cli: Cli, finished: str) -> None:
    shown = document(cli, "task", "get", "--id", finished)
    assert (shown["status"], shown["completion_percentage"], shown["result"]) == ("completed", 100.0, 6**16)
    assert [step["name"] for step in shown["steps"]] == ["square_1", "square_2", "square_3", "square_4"]
    text = table(cli, "task", "get", "--id", finished)
    for expected in (finished, "completed", "100.0 %", str(6**16), "square_4", WORKER):
        assert expected in text


def test_task_list(cli: Cli, finished: str) -> None:
    filters = ("task", "list", "--namespace", "linear_workflow", "--status", "completed")
    listed = document(cli, *filters)["tasks"]
    assert finished in {task["task_uuid"] for task in listed}
    assert {(task["namespace"], task["status"]) for task in listed} == {("linear_workflow", "completed")}
    assert finished in table(cli, *filters)


def test_task_list_page_by_page(cli: Cli, finished: str) -> None:
    document(cli, *CREATE, '{"even_number": 2}')
    first = document(cli, "task", "list", "--limit", "1")
    second = document(cli, "task", "list", "--limit", "1", "--cursor", first["next_cursor"])
    assert len(first["tasks"]) == len(second["tasks"]) == 1
    assert first["tasks"] != second["tasks"]


@pytest.mark.parametrize("show", [document, table])
def test_task_cancel(
    cli: Cli,
    orchestration: OrchestrationClient,
    once_running: Callable[[OrchestrationClient, UUID, str], Step],
    show: Callable[..., object],
) -> None:
    created = orchestration.create_task(
        "linear_workflow",
        "mathematical_sequence",
        {"even_number": 6, "simulate": {"step": "square_1", "sleep_seconds": 10}},
    )
    once_running(orchestration, created.task_uuid, "square_1")
    assert "cancelled" in str(show(cli, "task", "cancel", "--id", str(created.task_uuid)))
    assert orchestration.get_task(created.task_uuid).status is TaskStatus.CANCELLED


def test_worker_list(cli: Cli) -> None:
    listed = document(cli, "worker", "list", "--namespace", "order_fulfillment")["workers"]
    assert WORKER in {worker["worker_id"] for worker in listed}
    assert document(cli, "worker", "list", "--namespace", "nowhere")["workers"] == []
    assert WORKER in table(cli, "worker", "list")


def test_worker_status(cli: Cli) -> None:
    shown = document(cli, "worker", "status", "--id", WORKER)
    assert (shown["worker_id"], shown["status"]) == (WORKER, "active")
    assert "active" in table(cli, "worker", "status", "--id", WORKER)


def test_worker_health(cli: Cli) -> None:
    assert document(cli, "worker", "health")["status"] == "healthy"
    assert document(cli, "worker", "health", "--id", WORKER)["healthy"] is True
    everyone = document(cli, "worker", "health", "--all")
    assert everyone["healthy"] is True
    assert WORKER in {worker["worker_id"] for worker in everyone["workers"]}
    for arguments in ((), ("--id", WORKER), ("--all",)):
        assert "worker" in table(cli, "worker", "health", *arguments)


def test_system_health(cli: Cli) -> None:
    for arguments, parts in (
        ((), {"orchestration", "workers"}),
        (("--orchestration",), {"orchestration"}),
        (("--workers",), {"workers"}),
    ):
        shown = document(cli, "system", "health", *arguments)
        assert shown["healthy"] is True
        assert {part["part"] for part in shown["parts"]} == parts
        assert "yes" in table(cli, "system", "health", *arguments)


def test_system_info(cli: Cli, environment: RunningEnvironment) -> None:
    shown = document(cli, "system", "info")
    assert shown["orchestration"]["url"] == environment.endpoint("orchestration").url
    assert shown["orchestration"]["health"]["test_mode"] is True
    assert "order_fulfillment" in {namespace["name"] for namespace in shown["namespaces"]}
    assert "business_workflow" in table(cli, "system", "info")


def test_what_the_server_refuses_is_told_in_its_words(cli: Cli, finished: str) -> None:
    assert "422 invalid_context: context.even_number" in refusal(cli, *CREATE, '{"even_number": 7}', code=1)
    unknown = refusal(cli, "task", "create", "--namespace", "nowhere", "--name", "x", "--input", "{}", code=1)
    assert "404 unknown_namespace" in unknown
    assert "mixed_dag_workflow" in unknown
    assert "404 not_found" in refusal(cli, "task", "get", "--id", str(uuid4()), code=1)
    assert "409 task_finished" in refusal(cli, "task", "cancel", "--id", finished, code=1)
    for command in ("status", "health"):
        assert "nobody" in refusal(cli, "worker", command, "--id", "nobody", code=1)
    assert "404 unknown_namespace" in refusal(cli, "task", "list", "--namespace", "nowhere", code=1)


def test_bad_input_is_refused_before_anything_is_sent(cli: Cli) -> None:
    assert "--input is not JSON" in refusal(cli, *CREATE, "{nonsense", code=2)
    assert "Missing option '--id'" in refusal(cli, "task", "get", code=2)
    assert "No such command" in refusal(cli, "task", "destroy", code=2)
    assert "must be json or table" in refusal(cli, "task", "list", "--output", "xml", code=2)


def test_no_answer_has_an_exit_code_of_its_own(cli: Cli, environment: RunningEnvironment) -> None:
    endpoint = environment.endpoint("orchestration")
    # The reserved port 1: nobody listens there.
    nobody = f"http://{endpoint.host}:1"
    assert "no answer from" in refusal(cli, "task", "list", code=3, TASKER_ORCHESTRATION_URL=nobody)
    ill = cli("system", "health", "--output", "json", TASKER_ORCHESTRATION_URL=nobody)
    assert ill.returncode == 1
    assert {part["part"]: part["healthy"] for part in json.loads(ill.stdout)["parts"]} == {
        "orchestration": False,
        "workers": True,
    }
    assert len(ill.stderr.splitlines()) == 1


def test_settings_come_from_flag_then_environment_then_file(
    cli: Cli, environment: RunningEnvironment, tmp_path: Path
) -> None:
    url = str(environment.endpoint("orchestration").url)
    nobody = f"http://{environment.endpoint('orchestration').host}:1"
    assert cli("task", "list", "--orchestration-url", url, TASKER_ORCHESTRATION_URL=nobody).returncode == 0
    (tmp_path / ".tasker").mkdir()
    (tmp_path / ".tasker" / "config.toml").write_text(f'orchestration_url = "{nobody}"\n')
    assert cli("task", "list").returncode == 0
    assert cli("task", "list", TASKER_ORCHESTRATION_URL="").returncode == 3
