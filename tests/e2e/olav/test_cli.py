"""The command `olav` against the live server: its token, its commands, its exit codes.

The command is run in this process, by its entry point: as a process of its own it is in `test_langserve_api`.
"""

from __future__ import annotations

import io
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import pytest
from olav_client.cli import run

if TYPE_CHECKING:
    from ephemera.pytest_plugin.environments import RunningEnvironment

pytestmark = pytest.mark.timeout(60, func_only=True)

Ask = Callable[..., dict[str, Any]]
Cli = Callable[..., subprocess.CompletedProcess[str]]
QUESTION = "How are passwords stored?"
PASSWORD = "a password of twelve or more"  # noqa: S105 - of a user that a test makes


@pytest.fixture
def cli(
    environment: RunningEnvironment,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Cli:
    """Runs the command against the environment, with a home of its own."""
    for name in os.environ:
        if name.startswith(("OLAV_", "XDG_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))

    def run_here(
        *arguments: str, stdin: str = "", remote: str = "", **variables: str
    ) -> subprocess.CompletedProcess[str]:
        command = ["--remote", remote or str(environment.endpoint("olav-server").url), *arguments]
        with monkeypatch.context() as own:
            own.setattr(sys, "stdin", io.StringIO(stdin))
            for name, value in variables.items():
                own.setenv(name, value)
            capsys.readouterr()
            code = run(command)
        said = capsys.readouterr()
        return subprocess.CompletedProcess(command, code, said.out, said.err)

    return run_here


def refusal(done: subprocess.CompletedProcess[str], code: int) -> str:
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("olav: ")
    return line


def token(client: httpx.Client) -> dict[str, str]:
    """The client's, as the command takes it instead of a login."""
    return {"OLAV_TOKEN": client.headers["Authorization"].removeprefix("Bearer ")}


def test_the_token_is_kept_for_the_user_alone_and_forgotten_at_logout(
    environment: RunningEnvironment, cli: Cli, password: Callable[[RunningEnvironment, str], str], tmp_path: Path
) -> None:
    done = cli("login", "viewer", "--password-stdin", stdin=password(environment, "viewer"))
    assert (done.returncode, done.stderr) == (0, "")
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert kept
    assert {stat.S_IMODE(path.stat().st_mode) for path in kept} == {0o600}
    assert "403 forbidden" in refusal(cli("ask", QUESTION), 1)
    secret = kept[0].read_text()
    assert cli("logout").returncode == 0
    assert all(len(path.read_text()) < len(secret) for path in kept if path.exists()), "forgotten"


def test_a_stream_goes_on_with_a_thread(cli: Cli, operator: httpx.Client, ask: Ask, thread: str) -> None:
    assert ask(operator, "What is a session?", thread)["turn"] == 1
    done = cli("stream", QUESTION, "--thread", thread, "--output", "json", **token(operator))
    events = [json.loads(line) for line in done.stdout.splitlines()]
    output = events[-1]["output"]
    assert "".join(event["content"] for event in events[:-1]) == output["answer"]
    assert (output["thread_id"], output["turn"]) == (thread, 2)
    assert 'Earlier you asked: "What is a session?"' in output["answer"]


def test_users(cli: Cli, people: Mapping[str, httpx.Client]) -> None:
    name = f"u{uuid4().hex[:12]}"
    asked = ("users", "create", name, "--role", "viewer", "--password-stdin", "--output", "json")
    done = cli(*asked, stdin=PASSWORD, **token(people["admin"]))
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == people["admin"].get(f"/users/{name}").json()


def test_refusals_have_exit_codes_of_their_own(environment: RunningEnvironment, cli: Cli) -> None:
    wrong = cli("login", f"u{uuid4().hex[:12]}", "--password-stdin", stdin="not the password")
    assert "401 invalid_credentials" in refusal(wrong, 1)
    endpoint = environment.endpoint("olav-server")
    # The reserved port 1: nobody listens there.
    assert "no answer" in refusal(cli("health", remote=f"http://{endpoint.host or endpoint.internal_host}:1"), 3)
