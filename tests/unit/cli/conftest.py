"""The command, run in this process: its exit code and what it printed."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from ephemera.cli.main import main
from ephemera.setup import steps


@dataclass(frozen=True)
class Said:
    """What a command came to."""

    exit_code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Standard output, as the one JSON document that it is."""
        return json.loads(self.out)


Command = Callable[..., Said]


@pytest.fixture(autouse=True)
def ready_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """No command looks for engine and plugin, or makes them."""
    monkeypatch.setattr(steps, "ensure", lambda *_: None)


@pytest.fixture
def ephemera(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Command]:
    """Runs the command with those arguments."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["ephemera", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        return Said(int(ended.value.code or 0), out, err)

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)
