"""A server double on a real port, and a home without logins."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest


class Asked(NamedTuple):
    method: str
    path: str
    authorization: str | None
    body: Any


class Double:
    """Answers by path what it was told to, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self._answers: dict[str, tuple[int, str, bytes]] = {}
        double = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                content = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                body = json.loads(content) if content else None
                double.asked.append(Asked(self.command, self.path, self.headers["Authorization"], body))
                status, kind, answer = double._answers[self.path]
                self.send_response(status)
                self.send_header("Content-Type", kind)
                if status != 204:
                    self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_POST = do_PATCH = _answer

            def log_message(self, format: str, *args: object) -> None: ...

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def answers(self, path: str, document: object, *, status: int = 200) -> None:
        self._answers[path] = (status, "application/json", b"" if status == 204 else json.dumps(document).encode())

    def refuses(self, path: str, status: int, code: str, message: str) -> None:
        self.answers(path, {"error": {"code": code, "message": message, "request_id": "r-1"}}, status=status)

    def streams(self, path: str, text: str) -> None:
        self._answers[path] = (200, "text/event-stream", text.encode())

    def says(self, path: str, text: str, *, status: int) -> None:
        self._answers[path] = (status, "text/html", text.encode())

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def double() -> Iterator[Double]:
    double = Double()
    yield double
    double.close()


@pytest.fixture(autouse=True)
def state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where tokens are kept; no settings in the environment."""
    for name in ("REMOTE", "TOKEN", "PASSWORD", "TIMEOUT_SECONDS", "OUTPUT"):
        monkeypatch.delenv(f"OLAV_{name}", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"
