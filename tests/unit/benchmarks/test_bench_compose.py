from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from benchmarks.tools import ENVIRONMENT_LABEL, SERVICE_LABEL, Compose, Environment
from benchmarks.tools.compose import compose_file
from tests.unit.benchmarks.doubles import ENVIRONMENT, WORKLOAD


def _service(name: str, environment: Environment = ENVIRONMENT, interval: float = 1.0) -> dict[str, Any]:
    service: dict[str, Any] = compose_file(environment, interval)["services"][name]
    return service


def test_same_image_limits_and_hardening() -> None:
    cache = _service("cache")
    assert cache["image"] == "ephemera/redis:1"
    assert cache["pull_policy"] == "never"
    assert (cache["mem_limit"], cache["memswap_limit"]) == (134217728, 134217728)
    assert (cache["cpus"], cache["pids_limit"]) == (0.5, 64)
    assert (cache["user"], cache["init"], cache["read_only"]) == ("redis", True, True)
    assert (cache["cap_drop"], cache["cap_add"]) == (["ALL"], [])
    assert _service("api")["cap_add"] == ["CAP_CHOWN"]
    assert cache["tmpfs"] == ["/data:size=16m", "/tmp"]  # noqa: S108


def test_health_is_asked_for_at_the_given_interval_and_else_as_defined() -> None:
    assert _service("cache", interval=0.25)["healthcheck"] == {
        "test": ["CMD", "redis-cli", "ping"],
        "interval": "250ms",
        "timeout": "3000ms",
        "start_period": "10000ms",
        "retries": 10,
    }


def test_dollar_signs_are_no_variables_of_compose() -> None:
    cache = _service("cache")
    assert cache["environment"]["PASSWORD"] == "a$$b"  # noqa: S105 - of the test
    assert cache["command"] == ["sh", "-c", "exec redis-server $$OPTIONS"]


def test_what_requires_a_service_waits_until_it_is_healthy() -> None:
    assert _service("api")["depends_on"] == {"cache": {"condition": "service_healthy"}}
    assert _service("cache")["depends_on"] == {}


def test_everything_carries_the_name_of_the_environment() -> None:
    document = compose_file(ENVIRONMENT, 1.0)
    mark = {ENVIRONMENT_LABEL: "bench-1"}
    assert document["networks"]["default"]["labels"] == mark
    assert document["volumes"] == {"api-var-lib-api": {"labels": mark}}
    assert document["services"]["api"]["volumes"] == ["api-var-lib-api:/var/lib/api"]
    assert document["services"]["api"]["labels"] == {**mark, SERVICE_LABEL: "api"}


def test_ports_are_on_loopback_and_free_ones() -> None:
    assert _service("cache")["ports"] == ["127.0.0.1::6379"]


def test_change_is_of_one_variable_of_one_service() -> None:
    changed = Environment(name="bench-1", workload=WORKLOAD, variant=1)
    assert _service("cache", changed)["environment"]["REVISION"] == "2"
    assert _service("api", changed) == _service("api")


def test_file_is_written_before_the_clock_starts(tmp_path: Path) -> None:
    compose = Compose(name="compose", executable=["docker", "compose"], folder=tmp_path / "c", interval_seconds=1.0)
    command = compose.up(ENVIRONMENT)
    assert list(command.argv[-3:]) == ["up", "--detach", "--wait"]
    file = Path(command.argv[command.argv.index("--file") + 1])
    assert yaml.safe_load(file.read_text()) == compose_file(ENVIRONMENT, 1.0)


def test_down_takes_volumes_along_and_waits_as_long_as_it_is_told(tmp_path: Path) -> None:
    usual = Compose(name="compose", executable=["c"], folder=tmp_path, interval_seconds=1.0)
    assert list(usual.down(ENVIRONMENT).argv[-2:]) == ["down", "--volumes"]
    tuned = Compose(name="compose_tuned", executable=["c"], folder=tmp_path, interval_seconds=0.25, stop_seconds=0)
    assert list(tuned.down(ENVIRONMENT).argv[-3:]) == ["--volumes", "--timeout", "0"]
