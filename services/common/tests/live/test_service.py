"""A service that has nothing of its own but a table: what it gets for that."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from chassis.testing import Process, keeps_its_word, python_path, wait_until

Start = Callable[..., Process]


def run(source: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, **variables, "PYTHONPATH": python_path(source)}
    return subprocess.run(
        [sys.executable, "-m", *arguments], env=environ, capture_output=True, text=True, check=False, timeout=50
    )


def test_it_works_and_is_observed(visits: Process, source: Path) -> None:
    done = [run(source, "visits.cli", "count", "home", VISITS_URL=visits.url) for _ in range(2)]
    assert [json.loads(one.stdout)["visits"] for one in done] == [1, 2]
    refused = run(source, "visits.cli", "count", "HOME", VISITS_URL=visits.url)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "422 invalid_request: page: " in refused.stderr
    health = visits.http.get("/health").json()
    assert (health["status"], health["service"], health["checks"]["database"]["status"]) == ("healthy", "visits", "up")
    counted = 'visits_http_requests_total{method="POST",route="/visits/{page}",status="200"} 2.0'
    assert counted in visits.http.get("/metrics").text
    assert visits.end() == 0
    lines = [json.loads(line) for line in visits.log.read_text().splitlines()]
    assert {line["service"] for line in lines} == {"visits"}
    assert [line["status"] for line in lines if line.get("path", "").startswith("/visits")] == [200, 200, 422]
    assert all("request_id" in line for line in lines if line["event"] == "request")
    assert lines[-1]["event"] == "stopped"


@pytest.mark.timeout(300)
def test_its_openapi_document_is_true(visits: Process) -> None:
    keeps_its_word(visits.url)


def test_the_probe_is_the_services_health(visits: Process, source: Path) -> None:
    assert run(source, "chassis.probe", str(visits.port)).returncode == 0
    gone = run(source, "chassis.probe", "1")
    assert gone.returncode == 1
    assert gone.stderr.startswith("port 1: ")


def test_it_answers_before_its_database_is_there_and_gives_up_in_time(start: Start, source: Path) -> None:
    process = start(DATABASE_URL="postgresql://u@127.0.0.1:1/d", VISITS_START_TIMEOUT_SECONDS="8")
    wait_until(process.answers, "it answers")
    answer = process.http.get("/health")
    assert (answer.status_code, answer.json()["status"]) == (503, "starting")
    refused = process.http.post("/visits/home")
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "unavailable")
    probed = run(source, "chassis.probe", str(process.port))
    assert (probed.returncode, probed.stderr[:8]) == (1, "HTTP 503")
    assert process.ended() == 1
    assert "PostgreSQL (DATABASE_URL) could not be used within 8 s" in process.log.read_text()
    assert "Traceback" not in process.log.read_text()


def test_a_stop_does_not_wait_for_the_database(start: Start) -> None:
    process = start(DATABASE_URL="postgresql://u@127.0.0.1:1/d")
    wait_until(process.answers, "it answers")
    assert process.end() == 0


def test_a_bad_environment_is_told_in_one_line(start: Start) -> None:
    process = start(DATABASE_URL="mysql://u:hunter2@db/d")
    assert process.ended() == 2
    assert process.log.read_text() == ("bad environment: DATABASE_URL: must be a URL like postgresql://host:port\n")


def test_a_port_in_use_is_told(visits: Process, start: Start, database_url: str) -> None:
    second = start(DATABASE_URL=database_url, VISITS_PORT=str(visits.port))
    assert second.ended() == 1
    assert "address already in use" in second.log.read_text()
