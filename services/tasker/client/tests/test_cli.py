"""The command line: what it asks for, what it prints, and its exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from conftest import TASK_UUID, Clock, Documents, Server
from tasker_client.cli import run

Make = Callable[..., Documents]

CREATE = ("task", "create", "--namespace", "linear_workflow", "--name", "mathematical_sequence")


@pytest.fixture(autouse=True)
def network(monkeypatch: pytest.MonkeyPatch, server: Server, home: Path, clock: Clock) -> None:
    """The command line makes its own clients: put the double where their network would be."""

    def answer(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        return server(request)

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", answer)


def test_create_sends_the_input_and_shows_the_task(
    server: Server, capsys: pytest.CaptureFixture[str], task_document: Make
) -> None:
    server.answers(httpx.Response(201, json=task_document()))
    assert run([*CREATE, "--input", '{"even_number": 6}', "--output", "json"]) == 0
    assert server.last_body["context"] == {"even_number": 6}
    shown = json.loads(capsys.readouterr().out)
    assert (shown["task_uuid"], shown["result"]) == (TASK_UUID, 2821109907456)


def test_the_key_is_the_users_when_given(server: Server, task_document: Make) -> None:
    server.answers(httpx.Response(201, json=task_document()))
    run([*CREATE, "--input", "{}", "--idempotency-key", "mine"])
    assert server.last.headers["Idempotency-Key"] == "mine"


def test_get_as_a_table_names_state_result_and_steps(
    server: Server, capsys: pytest.CaptureFixture[str], task_document: Make
) -> None:
    error = {"step": "square_1", "code": "simulated", "message": "on [purpose]", "attempts": 3}
    server.answers(httpx.Response(200, json=task_document(status="failed", error=error)))
    assert run(["task", "get", "--id", TASK_UUID]) == 0
    out = capsys.readouterr().out
    for expected in (TASK_UUID, "failed", "100.0 %", "2821109907456", "square_1", "2/3", "on [purpose] (3 attempts)"):
        assert expected in out


def test_list_sends_its_filters_and_shows_one_page(
    server: Server, capsys: pytest.CaptureFixture[str], task_document: Make
) -> None:
    server.answers(httpx.Response(200, json={"tasks": [task_document()], "next_cursor": "c2"}))
    filters = ["--namespace", "n", "--status", "completed", "--limit", "3", "--cursor", "c1"]
    assert run(["task", "list", *filters]) == 0
    assert dict(server.last.url.params) == {"namespace": "n", "status": "completed", "limit": "3", "cursor": "c1"}
    out = capsys.readouterr().out
    assert TASK_UUID in out
    assert "next cursor  c2" in out
    assert run(["task", "list", "--output", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["next_cursor"] == "c2"


def test_cancel(server: Server, capsys: pytest.CaptureFixture[str], task_document: Make) -> None:
    server.answers(httpx.Response(200, json=task_document(status="cancelled")))
    assert run(["task", "cancel", "--id", TASK_UUID]) == 0
    assert server.last.url.path.endswith("/cancel")
    assert "cancelled" in capsys.readouterr().out


def test_worker_list_and_status(server: Server, capsys: pytest.CaptureFixture[str], worker_document: Make) -> None:
    server.answers(httpx.Response(200, json={"workers": [worker_document()]}), path="/v1/workers")
    running = {
        "step_uuid": TASK_UUID,
        "task_uuid": TASK_UUID,
        "namespace": "n",
        "name": "square_1",
        "attempt": 2,
        "started_at": "2026-01-31T12:00:00Z",
        "lease_expires_at": "2026-01-31T12:00:05Z",
    }
    server.answers(httpx.Response(200, json=worker_document(running_steps=[running])))
    assert run(["worker", "list", "--namespace", "linear_workflow"]) == 0
    assert dict(server.last.url.params) == {"namespace": "linear_workflow"}
    assert "integration-worker" in capsys.readouterr().out
    assert run(["worker", "status", "--id", "integration-worker"]) == 0
    assert TASK_UUID in capsys.readouterr().out


@pytest.mark.parametrize(("healthy", "code"), [(True, 0), (False, 1)])
@pytest.mark.parametrize("arguments", [[], ["--id", "integration-worker"], ["--all"]])
def test_worker_health_decides_the_exit_code(
    server: Server,
    capsys: pytest.CaptureFixture[str],
    worker_document: Make,
    worker_health_document: Make,
    health_document: Make,
    arguments: list[str],
    healthy: bool,
    code: int,
) -> None:
    one = worker_health_document(healthy=healthy, reason=None if healthy else "no heartbeat for 9 s")
    answering = health_document(
        service="worker", worker_id="integration-worker", status="healthy" if healthy else "unhealthy"
    )
    server.answers(httpx.Response(200 if healthy else 503, json=answering), path="/health")
    server.answers(httpx.Response(200, json={"workers": [worker_document()]}), path="/v1/workers")
    server.answers(httpx.Response(200, json=one))
    assert run(["worker", "health", *arguments, "--output", "json"]) == code
    captured = capsys.readouterr()
    assert isinstance(json.loads(captured.out), dict)
    assert len(captured.err.splitlines()) == code
    assert ("integration-worker" in captured.err) is not healthy
    assert run(["worker", "health", *arguments]) == code


def test_a_stopped_worker_is_no_failure_but_no_worker_is(
    server: Server, capsys: pytest.CaptureFixture[str], worker_document: Make, worker_health_document: Make
) -> None:
    gone = worker_health_document(worker_id="old", status="stopped", healthy=False, reason="stopped")
    server.answers(httpx.Response(200, json=gone), path="/v1/workers/old/health")
    server.answers(httpx.Response(200, json=worker_health_document()), path="/v1/workers/new/health")
    both = [worker_document(worker_id="old", status="stopped"), worker_document(worker_id="new")]
    server.answers(httpx.Response(200, json={"workers": both}))
    assert run(["worker", "health", "--all"]) == 0
    server.answers(httpx.Response(200, json={"workers": both[:1]}))
    assert run(["worker", "health", "--all"]) == 1
    assert capsys.readouterr().err == "tasker-cli: there is no worker\n"


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ([], ["orchestration", "workers"]),
        (["--orchestration", "--workers"], ["orchestration", "workers"]),
        (["--orchestration"], ["orchestration"]),
        (["--workers"], ["workers"]),
    ],
)
def test_system_health_looks_at_the_parts_asked_for(
    server: Server,
    capsys: pytest.CaptureFixture[str],
    worker_document: Make,
    worker_health_document: Make,
    health_document: Make,
    arguments: list[str],
    parts: list[str],
) -> None:
    server.answers(httpx.Response(200, json=health_document()), path="/health")
    server.answers(httpx.Response(200, json={"workers": [worker_document()]}), path="/v1/workers")
    server.answers(httpx.Response(200, json=worker_health_document()))
    assert run(["system", "health", *arguments, "--output", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["healthy"] is True
    assert [part["part"] for part in shown["parts"]] == parts


def test_system_health_shows_a_part_that_does_not_answer_next_to_one_that_is_ill(
    server: Server, capsys: pytest.CaptureFixture[str], health_document: Make
) -> None:
    down = {"database": {"status": "down", "latency_ms": None, "error": "connection refused"}}
    server.answers(httpx.Response(503, json=health_document(status="unhealthy", checks=down)), path="/health")
    server.answers(httpx.ConnectError("no route"))
    assert run(["system", "health", "--output", "json"]) == 1
    captured = capsys.readouterr()
    shown = json.loads(captured.out)
    assert [part["healthy"] for part in shown["parts"]] == [False, False]
    assert "database is down: connection refused" in captured.err
    assert "no route" in captured.err
    assert len(captured.err.splitlines()) == 1


def test_system_info(
    server: Server, capsys: pytest.CaptureFixture[str], worker_document: Make, health_document: Make
) -> None:
    server.answers(httpx.Response(200, json=health_document()), path="/health")
    server.answers(httpx.Response(200, json={"workers": [worker_document()]}), path="/v1/workers")
    server.answers(httpx.Response(200, json={"namespaces": [{"name": "n", "templates": ["t1", "t2"]}]}))
    assert run(["system", "info"]) == 0
    out = capsys.readouterr().out
    for expected in ("client version", "1.0.0", "database: up", "t1, t2", "integration-worker"):
        assert expected in out
    assert run(["system", "info", "--output", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["orchestration"]["url"] == "http://localhost:8080"


def test_shared_options_stand_before_or_after_the_command_and_the_later_wins(
    server: Server, capsys: pytest.CaptureFixture[str], task_document: Make
) -> None:
    server.answers(httpx.Response(200, json=task_document()))
    before = ["--orchestration-url", "http://before:1", "--output", "json", "--timeout", "2"]
    assert run([*before, "task", "get", "--id", TASK_UUID]) == 0
    assert server.last.url.host == "before"
    assert server.last.extensions["timeout"]["read"] == 2.0
    json.loads(capsys.readouterr().out)
    run([*before, "task", "get", "--id", TASK_UUID, "--orchestration-url", "http://after:2"])
    assert server.last.url.host == "after"


def test_the_environment_and_the_file_are_read(
    monkeypatch: pytest.MonkeyPatch, server: Server, home: Path, worker_document: Make
) -> None:
    server.answers(httpx.Response(200, json={"workers": [worker_document()]}))
    (home / ".tasker").mkdir()
    (home / ".tasker" / "config.toml").write_text('worker_url = "http://from-file:1"\n')
    run(["worker", "list"])
    assert server.last.url.host == "from-file"
    monkeypatch.setenv("TASKER_WORKER_URL", "http://from-env:1")
    run(["worker", "list"])
    assert server.last.url.host == "from-env"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["frob"], "No such command 'frob'"),
        (["task", "get"], "Missing option '--id'"),
        ([*CREATE, "--input", "{nonsense"], "--input is not JSON"),
        ([*CREATE, "--input", "[6]"], "--input is not a JSON object: [6]"),
        (["task", "list", "--status", "done"], "'done' is not one of"),
        (["task", "list", "--limit", "0"], "--limit"),
        (["task", "list", "--output", "xml"], "must be json or table"),
        (["task", "get", "--id", ""], "task id"),
        (["worker", "health", "--id", "w", "--all"], "exclude each other"),
        (["worker", "list", "--worker-url", "nowhere"], "'nowhere' is no base URL"),
        (["worker", "list", "--timeout", "-1"], "must be a number of seconds"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    server: Server, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert run(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("tasker-cli: ")
    assert words in captured.err
    assert len(captured.err.splitlines()) == 1
    assert not server.requests


def test_a_refusal_is_one_line_and_exit_code_1(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    detail = {"code": "invalid_context", "message": "context.even_number:\nmust be even"}
    server.answers(httpx.Response(422, json={"error": detail}))
    assert run([*CREATE, "--input", '{"even_number": 7}']) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == (
        "tasker-cli: POST http://localhost:8080/v1/tasks answered 422 invalid_context: "
        "context.even_number: must be even\n"
    )


def test_no_answer_is_one_line_and_exit_code_3(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    server.answers(httpx.ConnectError("connection refused"))
    assert run(["task", "list"]) == 3
    assert capsys.readouterr().err.count("\n") == 1


def test_an_interrupt_is_one_line_and_exit_code_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        raise KeyboardInterrupt

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", interrupted)
    assert run(["task", "list"]) == 130
    assert capsys.readouterr().err == "tasker-cli: interrupted\n"


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    out = capsys.readouterr().out
    for expected in ("task", "worker", "system", "--output", "Exit codes"):
        assert expected in out
