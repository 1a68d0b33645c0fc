"""What commands print: results on standard output, progress and errors on standard error, JSON if asked."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderableType, RenderHook, RenderResult
from rich.markup import escape
from rich.measure import Measurement
from rich.segment import Segment

from ephemera.model.errors import EphemeraError
from ephemera.model.progress import Event
from ephemera.model.text import coloured, printable


class Output(StrEnum):
    """How a command prints its result."""

    table = "table"
    json = "json"


def timestamp(seconds: float) -> str:
    """Seconds since the epoch as documents give them: ISO 8601, UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def write_line(text: str) -> None:
    """Print a line that others wrote, at once. On a terminal, it may set colours and nothing else; in a pipe or a file,
    it is as it was."""
    sys.stdout.write((coloured(text) if sys.stdout.isatty() else text) + "\n")
    sys.stdout.flush()


def filtering(console: Console) -> Console:
    """Return ``console``, on which no text can steer the terminal; one that writes elsewhere shows all as it is."""
    if console.file.isatty():
        console.push_render_hook(_Filter())
    return console


class Printable:
    """What ``renderable`` shows, without control characters and sequences in its text; the styles are rich's own."""

    def __init__(self, renderable: RenderableType) -> None:
        self._renderable = renderable

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self._renderable, options):
            text, style, control = segment
            yield segment if control else Segment(printable(text), style)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement.get(console, options, self._renderable)


class _Filter(RenderHook):
    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [Printable(each) for each in renderables]


@dataclass
class Screen:
    """Where to print, and in which form."""

    output: Output = Output.table
    out: Console = field(default_factory=lambda: filtering(Console(highlight=False, emoji=False)))
    err: Console = field(default_factory=lambda: filtering(Console(stderr=True, highlight=False, emoji=False)))

    @property
    def machine(self) -> bool:
        """Whether one JSON document is wanted."""
        return self.output is Output.json

    def result(self, document: Any, shown: ConsoleRenderable | str) -> None:
        """Print a command's result: its JSON document if asked for, else a table, or a line for people."""
        if self.machine:
            self.document(document)
        elif isinstance(shown, str):
            self.note(shown)
        else:
            self.table(shown)

    def document(self, document: Any) -> None:
        """Print one JSON document on standard output."""
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
        sys.stdout.flush()

    def table(self, table: ConsoleRenderable) -> None:
        """Print a table on standard output; lines that are longer than the terminal's stay whole."""
        self.out.print(table, crop=False, soft_wrap=True)

    def note(self, message: str) -> None:
        """Print a line of progress; a long one is not cut, so that what it names can be copied."""
        self.err.print(self._plain(message), soft_wrap=True)

    def progress(self, event: Event) -> None:
        """Print what a command that shows nothing else has to say."""
        if event["type"] == "notice":
            self.note(event["message"])

    def error(self, error: EphemeraError) -> None:
        """Print an error: one line and, for a failed service or build, its last lines; or its JSON document."""
        if self.machine:
            self.document(error.document())
            return
        self.err.print(f"[bold red]ephemera:[/] {self._plain(str(error))}", soft_wrap=True)
        for line in error.last_lines:
            self.err.print(f"  {self._plain(line)}", style="dim", soft_wrap=True)

    def _plain(self, text: str) -> str:
        """Text for standard error, no markup; filtered before rich takes half of a control sequence out."""
        return escape(printable(text) if self.err.file.isatty() else text)
