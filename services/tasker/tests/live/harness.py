"""The services as processes, and what a test asks of them."""

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx
import psycopg
import pytest
from psycopg import sql

SOURCE = Path(__file__).parents[2] / "src"
LEASE_SECONDS = 1.0


def wait_until(condition: Callable[[], Any], what: str, *, seconds: float = 30.0) -> Any:
    """The first truthy answer of `condition`."""
    deadline = time.monotonic() + seconds
    while True:
        if answer := condition():
            return answer
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds:g} s: {what}")
        time.sleep(0.02)


class Process:
    """One service. `log` is the file of its output."""

    def __init__(self, module: str, folder: Path, **environ: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.http = httpx.Client(base_url=self.url, timeout=10, verify=False)  # noqa: S501  there is no TLS here
        self.log = folder / f"{module}-{self.port}.log"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("TASKER_")}
        with self.log.open("wb") as output:
            self.popen = subprocess.Popen(
                [sys.executable, "-W", "error::RuntimeWarning", "-m", module],
                env={**inherited, "PYTHONPATH": str(SOURCE), "TASKER_HOST": "127.0.0.1", **environ}
                | {"TASKER_PORT": str(self.port)},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def healthy(self) -> bool:
        assert self.popen.poll() is None, f"exited with {self.popen.returncode}: {self.log.read_text()}"
        with contextlib.suppress(httpx.HTTPError):
            return self.http.get("/health").status_code == 200
        return False

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """The exit status."""
        self.http.close()
        self.popen.send_signal(number)
        return self.ended()

    def ended(self) -> int:
        """The exit status, once it has one."""
        return self.popen.wait(30)


class Tasker:
    """Orchestration, and as many workers as a test asks for, on one database."""

    def __init__(self, database_url: str, folder: Path) -> None:
        self.database_url = database_url
        self.folder = folder
        self.processes: list[Process] = []
        self.workers: dict[str, Process] = {}
        self.orchestration = Process(
            "tasker.orchestration", folder, DATABASE_URL=database_url, TASKER_TEST_MODE="1", LOG_LEVEL="debug"
        )
        self.http = self.orchestration.http
        self.processes.append(self.orchestration)

    def worker(self, worker_id: str, *, module: str = "tasker.integration_worker", **environ: str) -> Process:
        process = Process(
            module,
            self.folder,
            DATABASE_URL=self.database_url,
            TASKER_ORCHESTRATION_URL=self.orchestration.url,
            TASKER_WORKER_ID=worker_id,
            # So seldom that a test is over before the first look: what is not announced is not found.
            **{
                "TASKER_POLL_SECONDS": "60",
                "TASKER_LEASE_SECONDS": str(LEASE_SECONDS),
                "TASKER_DRAIN_SECONDS": "1",
                **environ,
            },
        )
        self.processes.append(process)
        self.workers[worker_id] = process
        wait_until(process.healthy, f"worker {worker_id} is healthy")
        return process

    def create(self, namespace: str, context: dict[str, Any], **more: Any) -> dict[str, Any]:
        (name,) = self.templates[namespace]
        body = {"namespace": namespace, "name": name, "context": context, **more}
        answer = self.http.post("/v1/tasks", json=body)
        assert answer.is_success, answer.text
        return dict(answer.json())

    @property
    def templates(self) -> dict[str, list[str]]:
        found = self.http.get("/v1/namespaces").json()["namespaces"]
        return {namespace["name"]: namespace["templates"] for namespace in found}

    def get(self, task: dict[str, Any]) -> dict[str, Any]:
        answer = self.http.get(f"/v1/tasks/{task['task_uuid']}")
        assert answer.is_success, answer.text
        return dict(answer.json())

    def ended(self, task: dict[str, Any], *, seconds: float = 30.0) -> dict[str, Any]:
        """The task, once its status is final."""

        def look() -> dict[str, Any] | None:
            with contextlib.suppress(httpx.TransportError):
                answer = self.http.get(f"/v1/tasks/{task['task_uuid']}")
                if answer.status_code == 200 and answer.json()["completed_at"]:
                    return dict(answer.json())
            return None

        return dict(wait_until(look, f"task {task['task_uuid']} ends", seconds=seconds))

    def running(self, task: dict[str, Any], step: str) -> dict[str, Any]:
        """The step, once it runs."""
        return dict(
            wait_until(
                lambda: next(
                    (s for s in self.get(task)["steps"] if (s["name"], s["status"]) == (step, "in_progress")), None
                ),
                f"step {step} runs",
            )
        )

    def stop(self) -> None:
        for process in self.processes:
            if process.popen.poll() is None:
                process.end(signal.SIGKILL)


def steps(task: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {step["name"]: step for step in task["steps"]}


@contextlib.contextmanager
def new_database(server_url: str) -> Iterator[str]:
    name = f"tasker_test_{secrets.token_hex(6)}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@contextlib.contextmanager
def new_tasker(server_url: str, folder: Path) -> Iterator[Tasker]:
    with new_database(server_url) as url:
        tasker = Tasker(url, folder)
        try:
            wait_until(tasker.orchestration.healthy, "orchestration is healthy")
            yield tasker
        finally:
            tasker.stop()
