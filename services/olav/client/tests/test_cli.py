"""The command as a person uses it."""

from __future__ import annotations

import io
import json
import stat
import sys
from pathlib import Path

import pytest
from conftest import Asked, Double
from olav_client import __version__
from olav_client.cli import run

LOGIN = {
    "access_token": "t0ken",
    "token_type": "bearer",
    "expires_in": 3600,
    "user": {"username": "operator", "role": "operator"},
}
UP = {"status": "up", "required": True, "latency_ms": 1.25, "error": None}
HEALTH = {
    "status": "healthy",
    "service": "olav-server",
    "version": "1.0.0",
    "environment": "development",
    "uptime_seconds": 3.5,
    "dependencies": {"postgres": UP, "llm": {**UP, "required": False}},
}
ANSWER = {
    "answer": "Raise the heap.",
    "category": "search",
    "documents": [{"id": "heap", "title": "Out of memory", "score": 0.91}],
    "thread_id": "t-1",
    "turn": 2,
}
USER = {
    "username": "bob",
    "role": "viewer",
    "disabled": False,
    "created_at": "2026-01-31T12:00:00.5Z",
    "updated_at": "2026-01-31T12:00:00.5Z",
}


@pytest.fixture
def logged_in(monkeypatch: pytest.MonkeyPatch, double: Double) -> Double:
    monkeypatch.setenv("OLAV_REMOTE", double.url)
    monkeypatch.setenv("OLAV_TOKEN", "t0ken")
    return double


def test_help_names_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    shown = capsys.readouterr().out
    for name in ("login", "logout", "me", "health", "status", "ask", "stream", "users", "--remote", "Exit codes"):
        assert name in shown


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"{__version__}\n"


def test_a_login_is_kept_for_its_server_alone(
    double: Double, state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    double.answers("/auth/login", LOGIN)
    double.answers("/me", {**USER, "session": {"created_at": USER["created_at"], "expires_at": USER["created_at"]}})
    monkeypatch.setattr(sys, "stdin", io.StringIO("operators password\n"))
    assert run(["--remote", f"{double.url}/", "login", "operator", "--password-stdin"]) == 0
    assert capsys.readouterr().out == f"logged in at {double.url} as operator (operator) for 60 minutes\n"
    assert double.asked == [
        Asked("POST", "/auth/login", None, {"username": "operator", "password": "operators password"})
    ]
    kept = state / "olav" / "tokens.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700

    assert run(["me", "--remote", double.url]) == 0
    assert double.asked[-1].authorization == "Bearer t0ken"
    assert run(["me", "--remote", double.url.replace("127.0.0.1", "localhost")]) == 2
    assert "not logged in" in capsys.readouterr().err

    double.answers("/auth/logout", None, status=204)
    assert run(["--remote", double.url, "logout"]) == 0
    assert json.loads(kept.read_text()) == {}
    assert run(["--remote", double.url, "me"]) == 2


def test_a_session_that_has_ended_is_forgotten_all_the_same(double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    double.answers("/auth/login", LOGIN)
    monkeypatch.setenv("OLAV_PASSWORD", "operators password")
    assert run(["--remote", double.url, "login", "operator"]) == 0
    double.refuses("/auth/logout", 401, "unauthorized", "the session has ended")
    assert run(["--remote", double.url, "logout"]) == 0
    assert run(["--remote", double.url, "logout"]) == 2


def test_a_wrong_password(double: Double, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    double.refuses("/auth/login", 401, "invalid_credentials", "unknown user or wrong password")
    monkeypatch.setenv("OLAV_PASSWORD", "wrong-one")
    assert run(["--remote", double.url, "login", "operator"]) == 1
    said = capsys.readouterr().err
    assert said.endswith("401 invalid_credentials: unknown user or wrong password\n")
    assert "wrong-one" not in said


def test_no_password_without_a_terminal(
    double: Double, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert run(["--remote", double.url, "login", "operator"]) == 2
    assert "--password-stdin" in capsys.readouterr().err
    assert double.asked == []


def test_status_is_a_table(logged_in: Double, capsys: pytest.CaptureFixture[str]) -> None:
    logged_in.answers("/status", {**HEALTH, "user": LOGIN["user"]})
    assert run(["status"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["component", "status", "latency", "required"] in lines
    assert ["postgres", "up", "1.2", "ms", "yes"] in lines
    assert ["llm", "up", "1.2", "ms", "no"] in lines
    assert ["logged", "in", "as", "operator", "(operator)"] in lines


def test_an_unhealthy_server_is_shown_and_exits_with_1(double: Double, capsys: pytest.CaptureFixture[str]) -> None:
    down = {"status": "down", "required": True, "latency_ms": None, "error": "ConnectionError"}
    sick = {**HEALTH, "status": "unhealthy", "dependencies": {"postgres": UP, "redis": down}}
    double.answers("/health", sick, status=503)
    assert run(["--remote", double.url, "health"]) == 1
    shown = capsys.readouterr()
    assert ["redis", "down:", "ConnectionError", "-", "yes"] in [line.split() for line in shown.out.splitlines()]
    assert shown.err == "olav: unhealthy: redis down\n"


def test_ask(logged_in: Double, capsys: pytest.CaptureFixture[str]) -> None:
    logged_in.answers("/orchestrator/invoke", {"output": ANSWER, "metadata": {}})
    assert run(["ask", "out of memory?", "--thread", "t-1"]) == 0
    assert capsys.readouterr().out == "Raise the heap.\n\nsources: Out of memory (0.91)\nthread: t-1 (turn 2)\n"
    assert logged_in.asked[-1].body == {
        "input": {"question": "out of memory?"},
        "config": {"configurable": {"thread_id": "t-1"}},
    }
    assert run(["ask", "out of memory?", "--output", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == ANSWER


def test_stream(logged_in: Double, capsys: pytest.CaptureFixture[str]) -> None:
    final = json.dumps({"type": "final", "output": ANSWER})
    logged_in.streams(
        "/orchestrator/stream",
        'event: metadata\r\ndata: {"run_id": "x"}\r\n\r\n: ping\r\n\r\n'
        'event: data\r\ndata: {"type": "token", "content": "Raise"}\r\n\r\n'
        'event: data\r\ndata: {"type": "token", "content": " the heap."}\r\n\r\n'
        f"event: data\r\ndata: {final}\r\n\r\nevent: end\r\n\r\n",
    )
    assert run(["stream", "out of memory?"]) == 0
    assert capsys.readouterr().out.startswith("Raise the heap.\n\nsources: ")
    assert run(["stream", "out of memory?", "--output", "json"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["type"] for event in events] == ["token", "token", "final"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('event: error\ndata: {"status_code": 502, "code": "model_failed", "message": "it failed"}\n\n', "502 model_f"),
        ("", "ended before the answer was whole"),
        ('event: data\ndata: {"type": "nonsense"}\n\n', "not in the contract"),
    ],
)
def test_a_stream_that_breaks(logged_in: Double, capsys: pytest.CaptureFixture[str], text: str, said: str) -> None:
    begun = 'event: data\ndata: {"type": "token", "content": "Raise"}\n\n'
    logged_in.streams("/orchestrator/stream", begun + text)
    assert run(["stream", "out of memory?"]) == 1
    shown = capsys.readouterr()
    assert shown.out == "Raise"
    assert said in shown.err
    assert shown.err.count("\n") == 1


def test_users(logged_in: Double, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    logged_in.answers("/users", {"users": [USER]})
    assert run(["users", "list"]) == 0
    assert ["bob", "viewer", "no", "2026-01-31", "12:00:00"] in [
        line.split() for line in capsys.readouterr().out.splitlines()
    ]
    logged_in.answers("/users", USER, status=201)
    monkeypatch.setattr(sys, "stdin", io.StringIO("bobs password\n"))
    assert run(["users", "create", "bob", "--role", "viewer", "--password-stdin"]) == 0
    assert logged_in.asked[-1].body == {"username": "bob", "role": "viewer", "password": "bobs password"}
    logged_in.answers("/users/bob", {**USER, "disabled": True})
    assert run(["users", "change", "bob", "--disable"]) == 0
    assert logged_in.asked[-1] == Asked("PATCH", "/users/bob", "Bearer t0ken", {"disabled": True})
    assert run(["users", "change", "bob", "--enable", "--role", "operator"]) == 0
    assert logged_in.asked[-1].body == {"disabled": False, "role": "operator"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--remote", "nowhere", "health"], "no base URL"),
        (["--timeout", "soon", "health"], "timeout_seconds (flag): 'soon'"),
        (["--output", "xml", "health"], "output (flag): 'xml'"),
        (["login", "admin"], "--remote URL"),
        (["--remote", "http://127.0.0.1:9", "ask", "why"], "not logged in"),
        (["users", "change", "bob"], "nothing to change"),
        (["users", "change", "bob", "--enable", "--disable"], "exclude each other"),
        (["users", "create", "bob", "--role", "king"], "king"),
        (["nonsense"], "nonsense"),
    ],
)
def test_bad_input_is_refused_here(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    shown = capsys.readouterr().err
    assert said in shown
    assert shown.count("\n") == 1


@pytest.mark.parametrize("command", [["health"], ["status"], ["ask", "why"], ["stream", "why"], ["logout"]])
def test_a_server_that_is_away(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OLAV_TOKEN", "t0ken")
    assert run(["--remote", "http://127.0.0.1:9", *command]) == 3
    shown = capsys.readouterr().err
    assert "http://127.0.0.1:9/" in shown
    assert "no answer from " in shown
    assert shown.count("\n") == 1


@pytest.mark.parametrize(("status", "code"), [(200, 1), (404, 1), (502, 1)])
def test_something_else_answers(double: Double, status: int, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    double.says("/health", "<h1>a proxy</h1>", status=status)
    assert run(["--remote", double.url, "health"]) == code
    assert capsys.readouterr().err.count("\n") == 1


def test_a_defect_of_the_server_names_the_request(logged_in: Double, capsys: pytest.CaptureFixture[str]) -> None:
    logged_in.refuses("/me", 500, "internal", "internal error")
    assert run(["me"]) == 1
    assert capsys.readouterr().err.endswith("500 internal: internal error (request r-1)\n")


def test_tokens_that_cannot_be_read(double: Double, state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (state / "olav").mkdir(parents=True)
    (state / "olav" / "tokens.json").write_text("{")
    assert run(["--remote", double.url, "me"]) == 2
    assert "remove it and log in again" in capsys.readouterr().err


def test_without_a_server_the_environment_must_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # As if the server's package were not there, whether it is or not.
    monkeypatch.setitem(sys.modules, "olav.settings", None)
    for command in (["ask", "why"], ["stream", "why"], ["status"]):
        assert run(command) == 2
        assert "give --remote URL" in capsys.readouterr().err
