"""What the images and containers are made of, seen from inside."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from tasker_client import OrchestrationClient

if TYPE_CHECKING:
    from ephemera.pytest_plugin.environments import RunningEnvironment

pytestmark = pytest.mark.timeout(60, func_only=True)

Inside = Callable[["RunningEnvironment", str, str], tuple[int, str]]

SERVICES = pytest.mark.parametrize("service", ["orchestration", "worker"])


@SERVICES
def test_everything_runs_as_user_1000(environment: RunningEnvironment, inside: Inside, service: str) -> None:
    assert inside(environment, service, "id -u; id -un") == (0, "1000\nappuser")
    assert inside(environment, service, "sed -n 's/^Uid:\\t\\([0-9]*\\).*/\\1/p' /proc/1/status") == (0, "1000")


@SERVICES
@pytest.mark.parametrize("tool", ["gcc", "cc", "g++", "clang", "make", "ld"])
def test_there_is_no_compiler(environment: RunningEnvironment, inside: Inside, service: str, tool: str) -> None:
    code, output = inside(environment, service, f"command -v {tool}")
    assert (code != 0, output) == (True, "")


@SERVICES
def test_the_root_file_system_is_read_only(environment: RunningEnvironment, inside: Inside, service: str) -> None:
    _, mount = inside(environment, service, "awk '$2 == \"/\" {print $4}' /proc/mounts")
    assert "ro" in mount.split(",")
    code, output = inside(environment, service, "touch /opt/probe")
    assert code != 0, output
    assert inside(environment, service, 'rm "$(mktemp)"') == (0, "")


@SERVICES
def test_no_privileges_are_left(environment: RunningEnvironment, inside: Inside, service: str) -> None:
    code, output = inside(environment, service, "grep -E '^(CapEff|CapBnd|NoNewPrivs):' /proc/1/status")
    assert code == 0
    assert {line.split(":")[0]: int(line.split(":")[1], 16) for line in output.splitlines()} == {
        "CapEff": 0,
        "CapBnd": 0,
        "NoNewPrivs": 1,
    }


@pytest.mark.parametrize("tool", ["curl", "jq", "nc"])
def test_only_the_test_target_carries_tools_to_look_around(
    environment: RunningEnvironment, inside: Inside, tool: str
) -> None:
    assert inside(environment, "orchestration", f"command -v {tool}")[0] == 0
    assert inside(environment, "worker", f"command -v {tool}")[0] != 0


def test_the_services_reach_each_other_by_name(environment: RunningEnvironment, inside: Inside) -> None:
    code, output = inside(environment, "orchestration", "curl -fsS http://worker:8081/health | jq -r .status")
    assert (code, output) == (0, "healthy")
    code, output = inside(environment, "orchestration", "curl -fsS http://localhost:8080/health | jq -r .status")
    assert (code, output) == (0, "healthy")


def test_the_database_is_the_systems_own(environment: RunningEnvironment) -> None:
    with environment.postgres() as connection:
        row = connection.execute("SELECT current_database(), current_user").fetchone()
        extensions = {name for (name,) in connection.execute("SELECT extname FROM pg_extension")}
    assert row == ("tasker_integration_test", "tasker")
    assert {"pgcrypto", "tasker_uuid"} <= extensions


def test_the_logs_name_the_tasks_and_never_the_password(
    environment: RunningEnvironment, orchestration: OrchestrationClient
) -> None:
    created = orchestration.create_task("linear_workflow", "mathematical_sequence", {"even_number": 6})
    orchestration.wait_for_completion(created.task_uuid)
    password = environment.outputs.service("postgres").credentials["password"].get_secret_value()
    assert password
    logs = {name: environment.service(name).logs() for name in ("orchestration", "worker", "postgres")}
    assert str(created.task_uuid) in logs["worker"]
    assert all(password not in text for text in logs.values())
