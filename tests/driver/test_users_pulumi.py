"""Users who have Pulumi projects of their own: their variables steer none of ours, and their secrets stay secret."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from typing import Any

import docker
import pytest
import yaml

from tests.driver_command import PROJECT, command_in

from .conftest import Ephemera

_SECRET = "hush-hush-4711"  # noqa: S105 - what is looked for
_SECRET_KEYS = ("greeting", "ready_seconds")
_STEERING: dict[str, Any] = {
    "PULUMI_CONFIG_PASSPHRASE": "a person's own",
    "PULUMI_CONFIG_PASSPHRASE_FILE": "/nowhere",
    "PULUMI_CONFIG": '{"ephemera:behaviour": "exit"}',
    "PULUMI_OPTION_PARALLEL": "abc",
    "PULUMI_OPTION_STACK": "nobodys",
    "PULUMI_BACKEND_URL": "file:///nowhere",
    "PULUMI_HOME": "/nowhere",
    "PULUMI_DEBUG_PROVIDERS": "docker:1",
    "PULUMI_DIY_BACKEND_GZIP": "true",
    "PULUMI_PYTHON_CMD": "false",
    "DOCKER_CONTEXT": "default",
}


def _config(ephemera: Ephemera, stack: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ephemera.project / f"Pulumi.{stack}.yaml").read_text())
    return document


def _by_hand(ephemera: Ephemera, script: str, **variables: str) -> str:
    """What a shell says that has evaluated ``ephemera env`` with those variables set."""
    prepared = f'set -e; eval "$({" ".join(ephemera.command("env"))})"; {script}'
    done = subprocess.run(
        ["bash", "-c", prepared],
        cwd=ephemera.project,
        env={**ephemera.variables, **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _spoil(ephemera: Ephemera, stack: str, prepare: str = "true") -> None:
    """Make the stack by hand, with a passphrase of the user's."""
    named = f"--stack {stack} --non-interactive"
    script = f"pulumi stack init {stack}; {prepare}; pulumi up --yes --skip-preview {named}"
    _by_hand(ephemera, f"export PULUMI_CONFIG_PASSPHRASE=x; {script}")


def _gone(ephemera: Ephemera, *stacks: str) -> None:
    for stack in stacks:
        done = ephemera("down", stack)
        assert done.code == 0, done.err
    assert ephemera.left() == []


def test_first_environment_and_later_ones_are_made_whatever_is_set(ephemera: Ephemera) -> None:
    first, second = ephemera.stack("data"), ephemera.stack("web")
    made = ephemera("up", "data", **_STEERING)
    assert made.code == 0, made.err
    later = ephemera("up", "web", PULUMI_CONFIG_PASSPHRASE="")
    assert later.code == 0, later.err
    assert "unchanged" in ephemera("up", "web").err
    assert _config(ephemera, first)["encryptionsalt"] == _config(ephemera, second)["encryptionsalt"]
    named = f"--stack {first} --non-interactive"
    _by_hand(ephemera, f"pulumi preview --expect-no-changes {named}", **_STEERING)
    _by_hand(ephemera, f"pulumi stack output --show-secrets {named}", PULUMI_CONFIG_PASSPHRASE="")
    _gone(ephemera, first, second)


def test_state_that_was_spoilt_heals(ephemera: Ephemera) -> None:
    """By a passphrase of the user's: the salt that an earlier version shared, and a stack that is encrypted with it."""
    stack, later = ephemera.stack("data"), ephemera.stack("web")
    _spoil(ephemera, stack)
    salt = _config(ephemera, stack)["encryptionsalt"]
    home = ephemera.state / "ephemera"
    shared = home / "derived-keys" / f"salt-{hashlib.sha256((home / 'passphrase').read_bytes()).hexdigest()}"
    shared.write_text(salt)
    _psql(stack, "create table kept (number int); insert into kept values (7)")

    made = ephemera("up", "web")
    assert made.code == 0, made.err
    assert not shared.exists()
    assert _config(ephemera, later)["encryptionsalt"] != salt
    locked = ephemera("outputs", stack)
    assert (locked.code, "run `ephemera up`, which changes it" in locked.err) == (3, True), locked.err
    healed = ephemera("up", "data")
    assert healed.code == 0, healed.err
    assert "encrypted with another passphrase" in healed.err
    assert "7" in _psql(stack, "select number from kept")
    assert _config(ephemera, stack)["encryptionsalt"] != salt
    _by_hand(ephemera, f"pulumi preview --expect-no-changes --stack {stack} --non-interactive")
    _gone(ephemera, stack, later)


def test_spoilt_stack_can_be_taken_down(ephemera: Ephemera) -> None:
    stack = ephemera.stack("web")
    _spoil(ephemera, stack, f"pulumi config set --secret ephemera:greeting {_SECRET} --stack {stack}")
    refused = ephemera("up", "web")
    assert refused.code == 2, refused.err
    assert "ephemera:greeting: remove them and encryptionsalt from the file" in refused.err
    _gone(ephemera, stack)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ephemera, str]]:
    """A stack whose greeting and time limit were set as secrets, by hand, before its first ``ephemera up``."""
    with command_in(PROJECT, tmp_path_factory.mktemp("told")) as ephemera:
        stack = ephemera.stack("web")
        for arguments in (
            ("stack", "init", stack),
            ("config", "set", "--secret", "ephemera:greeting", _SECRET, "--stack", stack),
            ("config", "set", "--secret", "ephemera:ready_seconds", "20", "--stack", stack),
        ):
            done = ephemera.pulumi(*arguments)
            assert done.code == 0, done.err
        made = ephemera("up", "web")
        assert made.code == 0, made.err
        yield ephemera, stack
        _gone(ephemera, stack)


def test_secret_set_by_hand_stays_one_and_arrives(told: tuple[Ephemera, str]) -> None:
    ephemera, stack = told
    assert f"GREETING={_SECRET}" in _variables(stack)
    assert all(list(_config(ephemera, stack)["config"][f"ephemera:{key}"]) == ["secure"] for key in _SECRET_KEYS)
    assert ephemera.pulumi("config", "get", "ephemera:greeting", "--stack", stack).out.strip() == _SECRET
    assert ephemera.pulumi("preview", "--expect-no-changes", "--stack", stack).code == 0
    assert "unchanged" in ephemera("up", "web").err


def test_secret_set_by_hand_is_nowhere_in_the_clear(told: tuple[Ephemera, str]) -> None:
    ephemera, stack = told
    failed = ephemera("up", "web", "-c", "behaviour=exit", "--output", "json")
    assert failed.code != 0
    back = ephemera("up", "web", "-c", "behaviour=serve", "--output", "json")
    assert back.code == 0, back.err
    kept = [path for folder in (ephemera.project, ephemera.state) for path in folder.rglob("*") if path.is_file()]
    assert any(path.name == "index.html" for path in kept), "evidence of the failure"
    assert [path for path in kept if _SECRET.encode() in path.read_bytes()] == []
    assert _SECRET not in failed.out + failed.err + back.out + back.err
    assert f"GREETING={_SECRET}" in _variables(stack)


def test_flag_overrides_a_secret(told: tuple[Ephemera, str]) -> None:
    ephemera, stack = told
    before = (ephemera.project / f"Pulumi.{stack}.yaml").read_text()
    assert ephemera("up", "web", "-c", "greeting=hello").code == 0
    assert "GREETING=hello" in _variables(stack)
    assert _config(ephemera, stack)["config"]["ephemera:greeting"] == "hello"
    (ephemera.project / f"Pulumi.{stack}.yaml").write_text(before)
    assert ephemera("up", "web").code == 0
    assert f"GREETING={_SECRET}" in _variables(stack)


def test_secret_of_the_wrong_type_is_told_without_its_value(told: tuple[Ephemera, str]) -> None:
    ephemera, stack = told
    config = ephemera.project / f"Pulumi.{stack}.yaml"
    before = config.read_text()
    ephemera.pulumi("config", "set", "--secret", "ephemera:stop_seconds", _SECRET, "--stack", stack)
    refused = ephemera("up", "web")
    config.write_text(before)
    assert refused.code == 2, refused.err
    assert "ephemera:stop_seconds is a secret of another type: it must be of type integer" in refused.err
    assert _SECRET not in refused.err


def _psql(stack: str, statement: str) -> str:
    client = docker.from_env()
    try:
        command = ["psql", "--username", "shop", "--tuples-only", "--command", statement]
        code, output = client.containers.get(f"{stack}-postgres").exec_run(command)
    finally:
        client.close()
    assert code == 0, output
    return str(output.decode())


def _variables(stack: str) -> list[str]:
    client = docker.from_env()
    try:
        found: list[str] = client.containers.get(f"{stack}-web").attrs["Config"]["Env"]
    finally:
        client.close()
    return found
