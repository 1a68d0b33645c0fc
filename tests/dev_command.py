"""``ephemera dev`` at work, as somebody in front of a terminal sees it."""

from __future__ import annotations

import queue
import signal
import threading
import time
from pathlib import Path

import httpx

from ephemera.docker.connection import connected
from tests.driver_command import Ephemera, until

READY = "in development mode; Ctrl-C ends this"
LIVE_SECONDS = 3.0
"""From the write of a source file to the first answer of the new code."""
_DEADLINE_SECONDS = 120.0
_INTERVAL_SECONDS = 0.01


class Dev:
    """The command, with what it has printed."""

    def __init__(self, command: Ephemera, system: str, *arguments: str) -> None:
        self.command = command
        self.stack = command.stack(system)
        self.printed: list[str] = []
        self._process = command.start("dev", system, *arguments)
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def line(self, text: str) -> str:
        """The next line in which that stands."""
        deadline = time.monotonic() + _DEADLINE_SECONDS
        while True:
            try:
                line = self._lines.get(timeout=max(deadline - time.monotonic(), 0.01))
            except queue.Empty:
                raise AssertionError(f"no line with {text!r} in {self.printed}") from None
            assert line is not None, f"it ended without {text!r}: {self.printed}"
            self.printed.append(line)
            if text in line:
                return line

    def end(self) -> int:
        """Press Ctrl-C; the exit code."""
        self._process.send_signal(signal.SIGINT)
        return self.ended()

    def ended(self) -> int:
        """Wait for its end; the exit code."""
        code = self._process.wait(_DEADLINE_SECONDS)
        self._reader.join()
        while (line := self._lines.get()) is not None:
            self.printed.append(line)
        return code

    def url(self, service: str) -> str:
        """Where the service answers."""
        document = self.command("outputs", self.stack).json
        return str(next(iter(document["services"][service]["endpoints"].values()))["url"])

    def restarted(self, service: str) -> float:
        """Have the engine restart the service's container; seconds until it answers: what the machine can do now."""
        url = f"{self.url(service)}/openapi.json"
        started = time.monotonic()
        with connected() as client:
            client.api.restart(f"{self.stack}-{service}", timeout=0)
        until(lambda: bool(asked(url)), _DEADLINE_SECONDS)
        return time.monotonic() - started

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)


def save(file: Path, text: str, url: str, mark: str) -> float:
    """Write the file; seconds until ``mark`` stands in what the service answers at ``url``."""
    started = time.monotonic()
    file.write_text(text)
    while mark not in asked(url):
        assert time.monotonic() - started < _DEADLINE_SECONDS, f"{mark} is not live"
        time.sleep(_INTERVAL_SECONDS)
    return time.monotonic() - started


def asked(url: str) -> str:
    """What the service answers; nothing when it does not."""
    try:
        return httpx.get(url, timeout=1, trust_env=False).text
    except httpx.HTTPError:
        return ""
