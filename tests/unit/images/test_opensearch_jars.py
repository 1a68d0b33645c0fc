"""How the local OpenSearch image gets its jars: those of the lock file, and nothing else."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

_RECIPE = Path(__file__).resolve().parents[3] / "images" / "opensearch"
_PATH = "org/example/one/1.0/one-1.0.jar"
_CONTENT = b"a jar"
_SECONDS = 60


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[str]:
    """A Maven repository with one jar."""
    jar = tmp_path / "repository" / _PATH
    jar.parent.mkdir(parents=True)
    jar.write_bytes(_CONTENT)
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "repository"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def _fetch(tmp_path: Path, repository: str, line: str) -> subprocess.CompletedProcess[str]:
    lock = tmp_path / "jars.lock"
    lock.write_text(f"{line}\n")
    command = [sys.executable, str(_RECIPE / "fetch.py"), str(lock), repository, str(tmp_path / "jars")]
    return subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, env={}, check=False)


def test_jars_of_the_lock_file_are_downloaded(tmp_path: Path, repository: str) -> None:
    done = _fetch(tmp_path, repository, f"{hashlib.sha256(_CONTENT).hexdigest()}  {_PATH}")
    assert (done.returncode, done.stdout) == (0, "1 jars, 0.0 MB\n")
    assert [(each.name, each.read_bytes()) for each in (tmp_path / "jars").iterdir()] == [("one-1.0.jar", _CONTENT)]


def test_another_content_is_refused(tmp_path: Path, repository: str) -> None:
    done = _fetch(tmp_path, repository, f"{'0' * 64}  {_PATH}")
    assert done.returncode == 1
    assert f"{_PATH} has SHA-256 {hashlib.sha256(_CONTENT).hexdigest()}, the lock file says 000" in done.stderr
    assert list((tmp_path / "jars").iterdir()) == []


def test_what_is_not_there_is_told_at_once(tmp_path: Path, repository: str) -> None:
    done = _fetch(tmp_path, repository, f"{'0' * 64}  {_PATH}x")
    assert done.returncode == 1
    assert "404" in done.stderr
    assert "a mirror is set with MAVEN_REPOSITORY" in done.stderr


def test_every_jar_is_locked_once() -> None:
    lines = (_RECIPE / "jars.lock").read_text().splitlines()
    assert all(re.fullmatch(r"[0-9a-f]{64}  [a-z][\w./-]+\.jar", line) for line in lines)
    names = [line.rpartition("/")[2] for line in lines]
    assert len(names) == len(set(names))
    assert "opensearch-2.16.0.jar" in names
