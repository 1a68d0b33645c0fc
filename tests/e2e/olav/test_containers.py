"""What the images and containers are made of, seen from inside; and settings that no server starts with."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ephemera.pytest_plugin.environments import RunningEnvironment

pytestmark = pytest.mark.timeout(60, func_only=True)

Inside = Callable[["RunningEnvironment", str, str], tuple[int, str]]

OURS = pytest.mark.parametrize("service", ["olav-server", "llm"])
SERVER = ["python", "-m", "olav.server"]


@OURS
def test_everything_runs_as_user_1000(environment: RunningEnvironment, inside: Inside, service: str) -> None:
    assert inside(environment, service, "id -u; id -un") == (0, "1000\nappuser")
    everybody = "cat /proc/[0-9]*/status 2>/dev/null | sed -n 's/^Uid:[[:space:]]*\\([0-9]*\\).*/\\1/p' | sort -u"
    assert inside(environment, service, everybody) == (0, "1000")


@OURS
def test_there_is_nothing_to_build_or_install_with(
    environment: RunningEnvironment, inside: Inside, service: str
) -> None:
    tools = "for tool in gcc cc make ld pip pip3 uv curl wget; do command -v $tool; done; true"
    assert inside(environment, service, tools) == (0, "")
    assert inside(environment, service, "python -c 'import pip'")[0] != 0
    assert inside(environment, service, "python -c 'import pytest'")[0] != 0


@pytest.mark.parametrize("service", ["postgres", "opensearch", "redis", "llm", "olav-server"])
def test_no_privileges_are_left_and_the_root_is_read_only(
    environment: RunningEnvironment, inside: Inside, service: str
) -> None:
    code, output = inside(environment, service, "grep -E '^(CapEff|CapBnd|NoNewPrivs):' /proc/1/status")
    assert code == 0
    assert {line.split(":")[0]: int(line.split(":")[1], 16) for line in output.splitlines()} == {
        "CapEff": 0,
        "CapBnd": 0,
        "NoNewPrivs": 1,
    }
    _, mount = inside(environment, service, "awk '$2 == \"/\" {print $4}' /proc/mounts")
    assert "ro" in mount.split(",")
    assert inside(environment, service, "touch /opt/probe")[0] != 0


def test_init_has_ended_well_and_once(environment: RunningEnvironment) -> None:
    state = environment.service("olav-init").inspect()["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 0)
    assert not environment.outputs.service("olav-init").endpoints


def test_the_server_has_as_many_workers_as_it_is_told(environment: RunningEnvironment, inside: Inside) -> None:
    children = "tr '\\0' ' ' < /proc/1/cmdline; for each in /proc/[0-9]*; do tr '\\0' ' ' < $each/cmdline; echo; done"
    _, lines = inside(environment, "olav-server", children)
    # Workers, and the process that they are forked of.
    assert sum("olav.server" in line and "docker-init" not in line for line in lines.splitlines()[1:]) == 4 + 1


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (["-u", "LLM_API_KEY"], "LLM_API_KEY"),
        (["-u", "POSTGRES_PASSWORD"], "POSTGRES_PASSWORD"),
        (["LLM_PROVIDER=somebody"], "LLM_PROVIDER"),
        (["ENVIRONMENT=production", "-u", "JWT_SECRET_KEY"], "JWT_SECRET_KEY"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_a_server_with_a_bad_setting_stops_with_one_line(
    environment: RunningEnvironment, change: list[str], named: str
) -> None:
    # `env` takes what it is to leave out before what it is to set.
    options = [part for part in change if "=" not in part]
    values = [part for part in change if "=" in part]
    code, output = environment.service("olav-server").exec(["env", *options, *values, *SERVER], timeout_seconds=20)
    assert code == 2, output
    (line,) = output.strip().splitlines()
    assert named in line
    for secret in environment.outputs.service("olav-server").credentials.values():
        assert secret.get_secret_value() not in output
