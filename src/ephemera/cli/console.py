"""What commands print: results on standard output, progress and errors on standard error, JSON if asked."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from rich.console import Console
from rich.markup import escape

from ephemera.contract.errors import EphemeraError
from ephemera.contract.progress import Event


class Output(StrEnum):
    """How a command prints its result."""

    table = "table"
    json = "json"


def timestamp(seconds: float) -> str:
    """Seconds since the epoch as documents give them: ISO 8601, UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat()


@dataclass
class Screen:
    """Where to print, and in which form."""

    output: Output = Output.table
    out: Console = field(default_factory=lambda: Console(highlight=False, emoji=False))
    err: Console = field(default_factory=lambda: Console(stderr=True, highlight=False, emoji=False))

    @property
    def machine(self) -> bool:
        """Whether one JSON document is wanted."""
        return self.output is Output.json

    def document(self, document: Any) -> None:
        """Print one JSON document on standard output."""
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
        sys.stdout.flush()

    def note(self, message: str) -> None:
        """Print a line of progress; a long one is not cut, so that what it names can be copied."""
        self.err.print(escape(message), soft_wrap=True)

    def progress(self, event: Event) -> None:
        """Print what a command that shows nothing else has to say."""
        if event["type"] == "notice":
            self.note(event["message"])

    def error(self, error: EphemeraError) -> None:
        """Print an error: one line and, for a failed service or build, its last lines; or its JSON document."""
        if self.machine:
            self.document(error.document())
            return
        self.err.print(f"[bold red]ephemera:[/] {escape(str(error))}", soft_wrap=True)
        for line in error.details().get("log_tail", ()):
            self.err.print(f"  {escape(line)}", style="dim", soft_wrap=True)
