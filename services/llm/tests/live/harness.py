"""The double as a process, and what a test asks of it."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import OpenAI

SOURCE = Path(__file__).parents[2] / "src"
KEY = "sk-double-of-this-test"


class Double:
    """A process. `http` is authorized; `openai` is the official client, which does not retry."""

    def __init__(self, log: Path, **environ: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = log
        self.http = httpx.Client(
            base_url=self.url, timeout=10, trust_env=False, headers={"authorization": f"Bearer {KEY}"}
        )
        self.openai = OpenAI(base_url=f"{self.url}/v1", api_key=KEY, max_retries=0, timeout=10)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("LLM_")}
        own = {"PYTHONPATH": str(SOURCE), "LLM_DOUBLE_HOST": "127.0.0.1", "LLM_DOUBLE_PORT": str(self.port)}
        with log.open("wb") as output:
            self.popen = subprocess.Popen(
                [sys.executable, "-W", "error::RuntimeWarning", "-m", "llm"],
                env={**inherited, "LLM_DOUBLE_KEY": KEY, **own, **environ},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def healthy(self) -> bool:
        assert self.popen.poll() is None, f"exited with {self.popen.returncode}: {self.log.read_text()}"
        with contextlib.suppress(httpx.HTTPError):
            return self.http.get("/health").status_code == 200
        return False

    def behave(self, **behaviour: Any) -> None:
        answer = self.http.put("/admin/behaviour", json=behaviour)
        assert answer.is_success, answer.text

    def seen(self, after: int = 0) -> list[dict[str, Any]]:
        answer = self.http.get("/admin/requests", params={"after": after})
        assert answer.is_success, answer.text
        return list(answer.json()["requests"])

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """The exit status."""
        self.http.close()
        self.openai.close()
        self.popen.send_signal(number)
        return self.popen.wait(20)


def wait_until(condition: Callable[[], Any], what: str, *, seconds: float = 20.0) -> Any:
    """The first truthy answer of `condition`."""
    deadline = time.monotonic() + seconds
    while True:
        if answer := condition():
            return answer
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds:g} s: {what}")
        time.sleep(0.02)
