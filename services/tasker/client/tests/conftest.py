"""A server double at the level of HTTP, and a clock that only moves when somebody sleeps."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

Answer = httpx.Response | Exception
Documents = dict[str, Any]

NOW = "2026-01-31T12:00:00.123456Z"
TASK_UUID = "01890000-0000-7000-8000-000000000001"


class Server:
    """Answers requests in the order in which answers were given, the last one again and again; keeps the requests."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self._answers: dict[str | None, list[Answer]] = {}

    def answers(self, *answers: Answer, path: str | None = None) -> None:
        """Answers for one path, or for all that have none of their own."""
        self._answers[path] = list(answers)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        queue = self._answers.get(request.url.path) or self._answers[None]
        answer = queue.pop(0) if len(queue) > 1 else queue[0]
        if isinstance(answer, Exception):
            raise answer
        # A response belongs to one request; the same answer may be given to many.
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    @property
    def last(self) -> httpx.Request:
        return self.requests[-1]

    @property
    def last_body(self) -> Any:
        return json.loads(self.last.content)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def transport(server: Server) -> httpx.MockTransport:
    return httpx.MockTransport(server)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "sleep", clock.sleep)
    monkeypatch.setattr(time, "monotonic", clock.monotonic)
    return clock


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A home without a config file, and no settings in the environment."""
    for name in ("ORCHESTRATION_URL", "WORKER_URL", "TIMEOUT_SECONDS", "OUTPUT"):
        monkeypatch.delenv(f"TASKER_{name}", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def task_document() -> Callable[..., Documents]:
    """A Task as the contract gives it, with fields replaced."""

    def make(**replaced: object) -> Documents:
        step = {
            "step_uuid": "01890000-0000-7000-8000-0000000000a1",
            "name": "square_1",
            "kind": "action",
            "status": "completed",
            "depends_on": [],
            "attempts": 2,
            "lost_leases": 1,
            "max_attempts": 3,
            "worker_id": "integration-worker",
            "run_after": None,
            "lease_expires_at": None,
            "started_at": NOW,
            "completed_at": NOW,
            "duration_ms": 1.5,
            "input": {"even_number": 6},
            "result": 36,
            "error": None,
            "history": [
                {
                    "attempt": 1,
                    "worker_id": "w",
                    "started_at": NOW,
                    "ended_at": NOW,
                    "outcome": "lost",
                    "error": None,
                }
            ],
            "field_of_a_newer_server": 1,
        }
        return {
            "task_uuid": TASK_UUID,
            "namespace": "linear_workflow",
            "name": "mathematical_sequence",
            "status": "completed",
            "outcome": None,
            "completion_percentage": 100.0,
            "context": {"even_number": 6},
            "result": 2821109907456,
            "error": None,
            "idempotency_key": "k",
            "created_at": NOW,
            "updated_at": NOW,
            "started_at": NOW,
            "completed_at": NOW,
            "steps": [step],
        } | replaced

    return make


@pytest.fixture
def worker_document() -> Callable[..., Documents]:
    def make(**replaced: object) -> Documents:
        return {
            "worker_id": "integration-worker",
            "status": "active",
            "namespaces": ["linear_workflow"],
            "handlers": ["square"],
            "concurrency": 8,
            "host": "h",
            "version": "1.0.0",
            "started_at": NOW,
            "last_heartbeat_at": NOW,
            "running": 0,
        } | replaced

    return make


@pytest.fixture
def health_document() -> Callable[..., Documents]:
    def make(**replaced: object) -> Documents:
        return {
            "status": "healthy",
            "service": "orchestration",
            "version": "1.0.0",
            "environment": "test",
            "uptime_seconds": 1.5,
            "checks": {"database": {"status": "up", "latency_ms": 0.7, "error": None}},
        } | replaced

    return make


@pytest.fixture
def worker_health_document() -> Callable[..., Documents]:
    def make(**replaced: object) -> Documents:
        return {
            "worker_id": "integration-worker",
            "healthy": True,
            "status": "active",
            "last_heartbeat_at": NOW,
            "heartbeat_age_seconds": 0.25,
            "reason": None,
        } | replaced

    return make
