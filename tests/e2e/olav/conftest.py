"""What every test of the suite drives: the server's API, as somebody of each role, and the command line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import pytest
from httpx_sse import EventSource

if TYPE_CHECKING:
    from ephemera.pytest_plugin.environments import RunningEnvironment

ROLES = ("admin", "operator", "viewer")


@pytest.fixture(scope="session")
def server(environment: RunningEnvironment) -> httpx.Client:
    """A client of the server that has not logged in."""
    return environment.http("olav-server")


@pytest.fixture(scope="session")
def password() -> Callable[[RunningEnvironment, str], str]:
    """``password(environment, "admin")``: of the seed user of that role."""

    def of(environment: RunningEnvironment, role: str) -> str:
        return environment.outputs.service("olav-server").credentials[f"{role}_password"].get_secret_value()

    return of


@pytest.fixture(scope="session")
def sign_in(password: Callable[[RunningEnvironment, str], str]) -> Callable[..., httpx.Client]:
    """``sign_in(environment, "admin")``: a client with a session of its own; of others by ``secret=``."""

    def enter(environment: RunningEnvironment, username: str, secret: str = "") -> httpx.Client:
        client = environment.http("olav-server")
        login = {"username": username, "password": secret or password(environment, username)}
        answer = client.post("/auth/login", json=login)
        assert answer.status_code == 200, answer.text
        client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        return client

    return enter


@pytest.fixture(scope="session")
def people(
    environment: RunningEnvironment, server: httpx.Client, sign_in: Callable[..., httpx.Client]
) -> Mapping[str, httpx.Client]:
    """A client for each role, and for ``nobody``; their sessions are everybody's, so no test ends them."""
    return {"nobody": server, **{role: sign_in(environment, role) for role in ROLES}}


@pytest.fixture(scope="session")
def operator(people: Mapping[str, httpx.Client]) -> httpx.Client:
    """A client of somebody who may run workflows."""
    return people["operator"]


@pytest.fixture
def thread() -> str:
    """Id of a thread that nobody has used."""
    return f"thread-{uuid4()}"


@pytest.fixture(scope="session")
def ask() -> Callable[..., dict[str, Any]]:
    """``ask(client, "question", thread="…")``: the orchestrator's output."""

    def invoke(client: httpx.Client, question: str, thread: str = "") -> dict[str, Any]:
        answer = client.post("/orchestrator/invoke", json=asking(question, thread))
        assert answer.status_code == 200, answer.text
        output: dict[str, Any] = answer.json()["output"]
        return output

    return invoke


@pytest.fixture(scope="session")
def stream() -> Callable[..., list[tuple[str, Any]]]:
    """``stream(client, "question", thread="…")``: every event of the answer, its name and data, in order."""

    def run(
        client: httpx.Client, question: str, thread: str = "", route: str = "/orchestrator/stream"
    ) -> list[tuple[str, Any]]:
        with client.stream("POST", route, json=asking(question, thread)) as response:
            assert response.status_code == 200, response.read()
            assert response.headers["Content-Type"].startswith("text/event-stream")
            return [(event.event, json.loads(event.data or "null")) for event in EventSource(response).iter_sse()]

    return run


@pytest.fixture
def cli(environment: RunningEnvironment, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the installed ``olav`` against the environment, with a home of its own: ``cli("status")``."""
    beside = str(Path(sys.executable).parent)
    command = shutil.which("olav", path=f"{beside}{os.pathsep}{os.environ['PATH']}")
    assert command, "olav is not installed here: pip install services/olav/client"
    remote = str(environment.endpoint("olav-server").url)
    # In the network its package is on PYTHONPATH, and measured.
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("OLAV_", "XDG_"))}
    variables |= {"HOME": str(tmp_path), "COLUMNS": "200"}

    def run(*arguments: str, stdin: str = "", **overrides: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [command, "--remote", overrides.pop("remote", remote), *arguments],
            env=variables | overrides,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )

    return run


def asking(question: str, thread: str = "") -> dict[str, Any]:
    """The body of a call."""
    return {"input": {"question": question}, "config": {"configurable": {"thread_id": thread}} if thread else {}}
