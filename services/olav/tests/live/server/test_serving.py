"""The process: how it refuses to start, serves with several workers, reloads, and ends."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from chassis.testing import python_path, wait_until
from live.server.harness import SOURCE, Server, environment
from redis import Redis


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"LLM_API_KEY": ""}, "bad environment: LLM_API_KEY: required, and not set"),
        ({"POSTGRES_PASSWORD": ""}, "bad environment: POSTGRES_PASSWORD: required, and not set"),
        (
            {"ENVIRONMENT": "production", "JWT_SECRET_KEY": ""},
            "bad environment: JWT_SECRET_KEY: the default is refused in production; set one of your own",
        ),
    ],
)
def test_a_bad_environment_ends_it_at_once_with_one_line(changed: dict[str, str], line: str) -> None:
    began = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-m", "olav.server"], env=environment(**changed), capture_output=True, text=True, timeout=20
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (2, "", f"{line}\n")
    # Before the libraries are imported, which takes seconds.
    assert time.monotonic() - began < 2


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = subprocess.run(
            [sys.executable, "-m", "olav.server"],
            env=environment(OLAV_PORT=port),
            capture_output=True,
            text=True,
            timeout=30,
        )
    assert ended.returncode == 1
    assert ended.stderr == f"cannot listen on OLAV_HOST 127.0.0.1, OLAV_PORT {port}: Address already in use\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_with_its_workers(start: Callable[..., Server], number: signal.Signals) -> None:
    server = start()
    workers = server.workers()
    assert len(workers) == 4
    began = time.monotonic()
    assert server.end(number) == 0
    assert time.monotonic() - began < 5
    assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]
    assert "Traceback" not in server.log.read_text()


def test_a_worker_that_dies_is_replaced(start: Callable[..., Server], redis: Redis) -> None:
    server = start(OLAV_WORKERS="2")
    viewer = server.token("viewer")
    before = server.workers()
    # A worker that dies young would end the server.
    wait_until(lambda: server.http.get("/health").json()["uptime_seconds"] > 4, "the workers have served for a while")
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: len(server.workers() - {victim}) == 2, "another worker")
    for _ in range(8):
        assert server.http.get("/me", headers={**viewer, "Connection": "close"}).status_code == 200


def test_workers_that_cannot_start_end_the_server(tmp_path: Path, database_url: str) -> None:
    # Broken where only a worker comes by.
    broken = tmp_path / "src"
    shutil.copytree(SOURCE, broken, ignore=shutil.ignore_patterns("__pycache__"))
    app = broken / "olav" / "app.py"
    text = app.read_text(encoding="utf-8")
    opening = "async with aclosing(redis), postgres, orchestrator:"
    assert opening in text
    app.write_text(text.replace(opening, f'raise RuntimeError("broken")\n        {opening}'), encoding="utf-8")
    server = Server(tmp_path, DATABASE_URL=database_url, PYTHONPATH=python_path(broken))
    assert server.popen.wait(30) == 1
    assert "broken" in server.log.read_text()


def test_metrics_are_summed_over_the_workers(start: Callable[..., Server]) -> None:
    server = start()
    for _ in range(20):
        server.http.get("/nowhere", headers={"Connection": "close"})
        server.http.get("/health", headers={"Connection": "close"})
    counted = re.compile(r'olav_http_requests_total\{method="GET",route="/health",status="200"\} (\S+)')
    unknown = re.compile(r'olav_http_requests_total\{method="GET",route="none",status="404"\} (\S+)')
    texts = [server.http.get("/metrics", headers={"Connection": "close"}).text for _ in range(8)]
    for text in texts:
        health, none = counted.search(text), unknown.search(text)
        assert health is not None
        assert none is not None
        assert (float(health[1]), float(none[1])) == (20, 20)
        assert 'olav_dependency_up{dependency="postgres"} 1.0' in text


def test_a_change_of_the_sources_is_live_within_three_seconds(
    start: Callable[..., Server], tmp_path: Path, redis: Redis
) -> None:
    sources = tmp_path / "src"
    shutil.copytree(SOURCE, sources, ignore=shutil.ignore_patterns("__pycache__"))
    server = start(PYTHONPATH=python_path(sources), OLAV_RELOAD="1", PYTHONDONTWRITEBYTECODE="1")
    assert len(server.workers()) == 1
    viewer = server.token("viewer")
    version = sources / "olav" / "__init__.py"
    text = version.read_text(encoding="utf-8")

    version.write_text(text.replace("1.0.0", "9.9.9"), encoding="utf-8")
    wait_until(lambda: server.http.get("/health").json()["version"] == "9.9.9", "the change is live", seconds=3)
    # Nobody is logged out by it.
    assert server.http.get("/me", headers=viewer).status_code == 200

    version.write_text("this is no Python\n", encoding="utf-8")
    wait_until(lambda: "SyntaxError" in server.log.read_text(), "the log tells what is wrong", seconds=10)
    version.write_text(text.replace("1.0.0", "8.8.8"), encoding="utf-8")
    wait_until(lambda: server.http.get("/health").json()["version"] == "8.8.8", "mended", seconds=3)
    assert server.end() == 0
