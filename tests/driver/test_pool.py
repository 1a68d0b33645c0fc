"""Pools for real: environments that are up before anybody asks, each given once, and never a stale one."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import psutil
import pytest

from tests.driver_command import Done, until

from .conftest import Ephemera

_SECONDS = 60


@pytest.fixture
def pooled(ephemera: Ephemera) -> Iterator[Ephemera]:
    """A pool of one; whatever a test does, all is gone afterwards."""
    done = ephemera("pool", "--system", "web", "--size", "1", "--wait")
    assert done.code == 0, done.err
    yield ephemera
    assert ephemera("pool", "--system", "web", "--size", "0").code == 0
    for environment in _listed(ephemera):
        assert ephemera("down", environment["stack"]).code == 0
    assert ephemera.left() == []


def _listed(ephemera: Ephemera) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ephemera("ls", "--output", "json").json
    return found


def _pool(ephemera: Ephemera) -> dict[str, Any]:
    (found,) = ephemera("pool", "--output", "json").json
    assert isinstance(found, dict)
    return found


def _ready(ephemera: Ephemera) -> str:
    (stack,) = _pool(ephemera)["ready"]
    return str(stack)


def _up(ephemera: Ephemera, *arguments: str) -> Done:
    done = ephemera("up", "web", "--output", "json", *arguments)
    assert done.code == 0, done.err
    return done


def _engine_runs(ephemera: Ephemera, stack: str) -> int:
    history = ephemera.state / "ephemera" / "pulumi" / ".pulumi" / "history"
    return len(list(history.rglob(f"{stack}-*.history.json")))


def test_branch_claims_it_and_every_command_finds_it_by_the_branch(pooled: Ephemera) -> None:
    stack = _ready(pooled)
    branch = pooled.variables["EPHEMERA_BRANCH"]
    runs = _engine_runs(pooled, stack)
    document = _up(pooled).json
    assert (document["stack"], document["branch"]) == (stack, branch)
    assert _engine_runs(pooled, stack) == runs, "no engine ran"
    (listed,) = [each for each in _listed(pooled) if each["stack"] == stack]
    assert (listed["branch"], listed["state"]) == (branch, "running")
    for name in ("web", stack, pooled.stack("web")):
        assert pooled("outputs", name).json == document
        assert [each["up"] for each in pooled("status", name, "--output", "json").json["services"]] == [True]
    assert _up(pooled).json == document, "it is the branch's from now on"
    assert pooled("test", "web", "--output", "json").json["tests"]["exit_code"] == 0
    attached = pooled.pytest("--ephemera-env", pooled.stack("web"), "tests", EPHEMERA_REQUIRE_SERVICES="1")
    assert attached.code == 0, attached.out
    changed = _up(pooled, "--config", "greeting=salut").json
    assert (changed["stack"], changed["branch"]) == (stack, branch)
    assert pooled("down", "web", "--output", "json").json["leftovers"] == []
    assert stack not in {each["stack"] for each in _listed(pooled)}


def test_pool_refills_by_itself(pooled: Ephemera) -> None:
    first = _ready(pooled)
    assert _up(pooled).json["stack"] == first
    until(lambda: len(_pool(pooled)["ready"]) == 1, _SECONDS)
    assert _ready(pooled) != first


def test_of_two_branches_at_once_one_gets_it(pooled: Ephemera) -> None:
    stack = _ready(pooled)
    commands = [
        pooled.start("up", "web", "--branch", f"{pooled.variables['EPHEMERA_BRANCH']}{name}", "--output", "json")
        for name in "ab"
    ]
    given = [json.loads(_output(command))["stack"] for command in commands]
    assert len(set(given)) == 2
    assert given.count(stack) == 1


def _output(command: subprocess.Popen[str]) -> str:
    text, _ = command.communicate(timeout=_SECONDS)
    return text[text.index("{") :]


def test_run_and_pytest_claim_one_and_take_it_down(pooled: Ephemera) -> None:
    stack = _ready(pooled)
    run = pooled("run", "web", "--output", "json")
    assert (run.code, run.json["stack"], run.json["leftovers"]) == (0, stack, [])
    until(lambda: len(_pool(pooled)["ready"]) == 1, _SECONDS)
    stack = _ready(pooled)
    tests = pooled.pytest("tests", EPHEMERA_REQUIRE_SERVICES="1")
    assert tests.code == 0, tests.out
    assert f"{stack} is ready after" in tests.out
    assert "claimed from its pool" in tests.out
    assert f"{stack} is gone after" in tests.out


def test_stale_one_is_never_given_and_replaced(pooled: Ephemera) -> None:
    stale = _ready(pooled)
    program = pooled.project / "shop.py"
    program.write_text(f"{program.read_text()}\n# changed\n")
    assert _up(pooled).json["stack"] == pooled.stack("web")
    until(lambda: [each for each in _pool(pooled)["ready"] if each != stale] != [], _SECONDS)
    until(lambda: stale not in {each["stack"] for each in _listed(pooled)}, _SECONDS)


def test_dead_one_is_never_given(pooled: Ephemera) -> None:
    dead = _ready(pooled)
    client = docker.from_env()
    client.containers.get(f"{dead}-web").kill()
    client.close()
    assert _up(pooled).json["stack"] == pooled.stack("web")
    until(lambda: dead not in {each["stack"] for each in _listed(pooled)}, _SECONDS)


def test_other_settings_or_prepared_config_claim_nothing(pooled: Ephemera) -> None:
    stack = _ready(pooled)
    assert _up(pooled, "--config", "greeting=salut").json["stack"] == pooled.stack("web")
    assert pooled("down", "web").code == 0
    (pooled.project / f"Pulumi.{pooled.stack('web')}.yaml").write_text("config:\n  other:key: value\n")
    assert _up(pooled).json["stack"] == pooled.stack("web")
    assert _ready(pooled) == stack


def test_killed_filler_leaves_nothing_behind(ephemera: Ephemera) -> None:
    never = ("--config", "behaviour=deaf")
    assert ephemera("pool", "--system", "web", "--size", "1", *never, EPHEMERA_WARM="off").code == 0
    until(lambda: _pool(ephemera)["coming_up"] != [], _SECONDS)
    (stack,) = _pool(ephemera)["coming_up"]
    lease = json.loads((ephemera.state / "ephemera" / "leases" / f"{stack}.json").read_text())
    psutil.Process(lease["holder"]["pid"]).send_signal(signal.SIGKILL)
    (ephemera.state / "ephemera" / "pools").rename(ephemera.state / "ephemera" / "no-pools")  # it is not filled again
    until(lambda: ephemera.left() == [], _SECONDS)


def test_what_cannot_be_made_is_said_with_evidence_and_not_tried_for_ever(ephemera: Ephemera) -> None:
    failing = ("--config", "behaviour=exit")
    assert ephemera("pool", "--system", "web", "--size", "2", *failing).code == 0
    until(lambda: _pool(ephemera)["problem"] != "", _SECONDS)
    pool = _pool(ephemera)
    assert "service 'web' exited before it was ready (exit code 7)" in pool["problem"]
    assert Path(pool["problem"].rpartition("evidence: ")[2]).is_file()
    assert pool["ready"] == []
    waited = ephemera("pool", "--system", "web", "--size", "2", "--wait", *failing)
    assert waited.code == 3
    assert "exit code 7" in waited.err
    (document,) = (ephemera.state / "ephemera" / "pools").glob("*.json")
    assert json.loads(document.read_text())["failures"] == 1, "asked anew, it was tried once, whatever came before"
    assert ephemera("pool", "--system", "web", "--size", "0").code == 0
    assert ephemera.left() == []


def test_bad_input_makes_no_pool(ephemera: Ephemera) -> None:
    for arguments in (
        ("--system", "wbe", "--size", "1"),
        ("--size", "1"),
        ("--system", "web", "--wait"),
        ("--system", "web", "--size", "1", "--config", "nope=1"),
        ("--system", "web", "--size", "-1"),
    ):
        assert ephemera("pool", *arguments).code == 2
    assert ephemera("pool", "--output", "json").json == []
    assert ephemera.left() == []
